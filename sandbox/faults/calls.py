"""Faults of API calls: refused, unanswered, late, or answered from the past."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any

from sandbox.faults import fields, refusals
from sandbox.faults.actions import may_be_stale, read_action
from sandbox.faults.errors import FaultSettingError
from sandbox.model.errors import ServiceError

CALLS: dict[str, tuple[str, ...]] = {
    "throttle": (),
    "error": ("code", "message", "status"),
    "unavailable": (),
    "lost": ("seconds",),
    "dropped": ("seconds",),
    "slow": ("seconds",),
    "stale": ("seconds",),
}
"""The faults of calls, with the fields that each has besides those that all have."""

_COMMON = {
    "action": read_action,
    "count": fields.whole(1),
    "principal": fields.text,
    "rate": fields.rate,
    "skip": fields.whole(0),
}
_OWN = {
    "code": fields.text,
    "message": fields.text,
    "seconds": fields.seconds,
    "status": fields.whole(400),
}
_NEED_SECONDS = frozenset({"slow", "stale"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one call.

    ``kind`` is ``refused`` (with ``error``), ``lost`` (done, no answer), ``dropped`` (not done, no answer),
    ``slow`` or ``stale`` (with the ``earlier`` answer that is given instead).
    """

    kind: str
    seconds: float = 0.0
    error: ServiceError | None = None
    earlier: tuple[Any] | None = None


@dataclass(kw_only=True)
class CallRule:
    """One setting for calls, with what is left of it."""

    fault: str
    action: str
    rate: float = 1.0
    count: int | None = None
    """How many calls it still hits; None: any number."""
    skip: int = 0
    """How many matching calls it still lets pass."""
    principal: str = "*"
    seconds: float = 0.0
    code: str | None = None
    message: str | None = None
    status: int | None = None
    hits: int = 0
    _matches: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False)

    def matches(self, service: str, operation: str, principal: str) -> bool:
        """Tell whether a call is one that the rule is for."""
        known = self._matches.get((service, operation))
        if known is None:
            known = fnmatchcase(f"{service}:{operation}", self.action) and (
                self.fault != "stale" or may_be_stale(service, operation)
            )
            self._matches[service, operation] = known
        return known and (self.principal == "*" or fnmatchcase(principal, self.principal))

    def strikes(self, random: Random) -> bool:
        """Tell whether it hits a call that matches, and count that."""
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.rate < 1 and random.random() >= self.rate:
            return False
        if self.count is not None:
            self.count -= 1
        self.hits += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether it will hit no more calls."""
        return self.count == 0

    def fault_for(self, service: str) -> Fault:
        """Return what happens to a call of a service."""
        if self.fault not in {"throttle", "error", "unavailable"}:
            return Fault(kind=self.fault, seconds=self.seconds)
        makers = {
            "throttle": refusals.throttled,
            "error": refusals.internal,
            "unavailable": refusals.unavailable,
        }
        usual = makers[self.fault](service)
        error = ServiceError(
            self.code or usual.code,
            self.message or usual.message,
            self.status or (400 if self.code else usual.http_status),
        )
        return Fault(kind="refused", error=error)

    def shape(self) -> dict[str, Any]:
        """Return it as it was set, with what is left and how many calls it hit."""
        names = ("fault", "action", *sorted({*_COMMON, *CALLS[self.fault]} - {"action"}))
        values = {name: getattr(self, name) for name in names}
        values["action"] = "*" if self.action == "*:*" else self.action
        return {name: value for name, value in values.items() if value is not None} | {"hits": self.hits}


def read_call_rule(kind: str, given: dict[str, Any]) -> CallRule:
    """Read one setting.

    :raises FaultSettingError: if it makes no sense.
    """
    readers = _COMMON | {name: _OWN[name] for name in CALLS[kind]}
    values = fields.read_all(kind, given, readers)
    if "action" not in values:
        message = f"fault {kind} needs action, for instance autoscaling:UpdateAutoScalingGroup, or *"
        raise FaultSettingError(message)
    if kind in _NEED_SECONDS and not values.get("seconds"):
        message = f"fault {kind} needs seconds, more than 0"
        raise FaultSettingError(message)
    if values.get("status", 400) > 599:
        raise fields.refuse("status", values["status"], "an HTTP status, 400 to 599")
    if kind == "stale" and values["action"].split(":")[0] in {"s3", "sts", "sqs"}:
        message = f"action is {given['action']!r}, but AWS answers that service's reads with what is"
        raise FaultSettingError(message)
    return CallRule(fault=kind, **values)
