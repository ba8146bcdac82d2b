"""What happens to instances and groups at a moment: deaths, spot interruptions, a scaling policy at work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.clock import Handle
from sandbox.faults import fields
from sandbox.faults.errors import FaultSettingError
from sandbox.faults.rule import Rule

_WHICH: Mapping[str, fields.Reader] = {"instance": fields.text, "group": fields.text}
_WHEN: Mapping[str, fields.Reader] = {
    "after": fields.seconds,
    "count": fields.whole(1),
    "every": fields.seconds,
}
EVENTS: Mapping[str, Mapping[str, fields.Reader]] = {
    "death": {**_WHICH, "how": fields.one_of("stopped", "terminated")},
    "spot-interruption": {**_WHICH, "seconds": fields.seconds},
    "scaling-policy": {
        "group": fields.text,
        "by": fields.any_whole,
        "to": fields.whole(0),
        "policy": fields.text,
    },
}
"""What can happen, with the fields that each has besides those that say when."""


@dataclass(kw_only=True)
class EventRule(Rule):
    """Something that happens once, or again and again."""

    instance: str | None = None
    group: str | None = None
    how: str | None = None
    seconds: float | None = None
    by: int | None = None
    to: int | None = None
    policy: str | None = None
    after: float = 0.0
    every: float | None = None
    timer: Handle | None = None

    def end(self) -> None:
        """Let it happen no more."""
        if self.timer is not None:
            self.timer.cancel()

    def shape(self) -> dict[str, Any]:
        """Return it as it was set."""
        return {
            name: value for name, value in super().shape().items() if name not in {"timer", "rate", "skip"}
        }


def read_event_rule(kind: str, given: Mapping[str, Any]) -> EventRule:
    """Read one setting.

    :raises FaultSettingError: if it makes no sense.
    """
    values = fields.read_all(kind, given, {**_WHEN, **EVENTS[kind]})
    if values.get("every") == 0:
        raise fields.refuse("every", given["every"], "seconds, more than 0")
    if kind == "scaling-policy":
        if "group" not in values or ("by" in values) == ("to" in values):
            message = "fault scaling-policy needs group, and either by (a difference) or to (a capacity)"
            raise FaultSettingError(message)
    elif ("instance" in values) == ("group" in values):
        message = f"fault {kind} needs either instance or group (of which one is drawn)"
        raise FaultSettingError(message)
    if "every" not in values:
        if "count" in values:
            message = f"fault {kind} has count {values['count']}, but no every: how many seconds lie between?"
            raise FaultSettingError(message)
        values["count"] = 1
    return EventRule(fault=kind, **values)
