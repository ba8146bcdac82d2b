"""Faults of API calls: refused, unanswered, late, or answered from the past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from sandbox.faults import fields, refusals
from sandbox.faults.actions import is_always_fresh, may_be_stale, read_action
from sandbox.faults.errors import FaultSettingError
from sandbox.faults.rule import HOW_OFTEN, Rule
from sandbox.model.errors import ServiceError

CALLS: Mapping[str, tuple[str, ...]] = {
    "throttle": (),
    "error": ("code", "message", "status"),
    "unavailable": (),
    "lost": ("seconds",),
    "dropped": ("seconds",),
    "slow": ("seconds",),
    "stale": ("seconds",),
}
"""The faults of calls, with the fields that each has besides those that all have."""

_COMMON: Mapping[str, fields.Reader] = {**HOW_OFTEN, "action": read_action, "principal": fields.text}
_OWN: Mapping[str, fields.Reader] = {
    "code": fields.text,
    "message": fields.text,
    "seconds": fields.seconds,
    "status": fields.whole(400),
}
_NEED_SECONDS = frozenset({"slow", "stale"})
_REFUSALS = {
    "throttle": refusals.throttled,
    "error": refusals.internal,
    "unavailable": refusals.unavailable,
}


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
class CallRule(Rule):
    """One setting for calls."""

    action: str
    principal: str = "*"
    seconds: float | None = None
    code: str | None = None
    message: str | None = None
    status: int | None = None
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

    def fault_for(self, service: str, earlier: tuple[Any] | None) -> Fault:
        """Return what happens to a call of a service.

        :param earlier: what the same call was answered some time ago, for a stale answer.
        """
        if self.fault not in _REFUSALS:
            return Fault(kind=self.fault, seconds=self.seconds or 0.0, earlier=earlier)
        usual = _REFUSALS[self.fault](service)
        status = self.status or (400 if self.code else usual.http_status)
        error = ServiceError(self.code or usual.code, self.message or usual.message, status)
        return Fault(kind="refused", error=error)


def read_call_rule(kind: str, given: Mapping[str, Any]) -> CallRule:
    """Read one setting.

    :raises FaultSettingError: if it makes no sense.
    """
    values = fields.read_all(kind, given, {**_COMMON, **{name: _OWN[name] for name in CALLS[kind]}})
    if "action" not in values:
        message = f"fault {kind} needs action, for instance autoscaling:UpdateAutoScalingGroup, or *"
        raise FaultSettingError(message)
    if kind in _NEED_SECONDS and not values.get("seconds"):
        message = f"fault {kind} needs seconds, more than 0"
        raise FaultSettingError(message)
    if values.get("status", 400) > 599:
        raise fields.refuse("status", values["status"], "an HTTP status, 400 to 599")
    if kind == "stale" and is_always_fresh(values["action"].split(":")[0]):
        message = f"action is {given['action']!r}, but AWS answers that service's reads with what is"
        raise FaultSettingError(message)
    return CallRule(fault=kind, **values)
