"""Faults of machines: ones that do not boot, never get healthy, whose agent is dead, whose commands fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.faults import fields
from sandbox.faults.scope import WHERE, ScopedRule
from sandbox.model.ports import CheckResult, CommandResult

_HEALTH = {
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.ResponseCodeMismatch": "Health checks failed with these codes: [500]",
    "Target.Timeout": "Request timed out",
}
"""ELBv2's reasons of failed checks with its words (ELBv2 API reference, TargetHealth)."""

MACHINES: Mapping[str, Mapping[str, fields.Reader]] = {
    "boot-failure": {"reason": fields.text},
    "unhealthy": {"reason": fields.one_of(*_HEALTH)},
    "dead-agent": {},
    "failed-command": {"status": fields.whole(1), "output": fields.text, "error": fields.text},
    "hung-command": {},
    "unreachable": {},
}
"""The faults of machines, with the fields that each has besides those that say which machines."""

_STANDING = frozenset({"dead-agent", "unreachable"})
"""These are states, not things that happen: they have no rate."""


@dataclass(kw_only=True)
class MachineRule(ScopedRule):
    """One setting for machines."""

    reason: str | None = None
    status: int | None = None
    output: str | None = None
    error: str | None = None

    def boot_failure(self) -> str:
        """Return why a machine does not boot."""
        return self.reason or "Server.InternalError: Internal error on launch"

    def check(self) -> CheckResult:
        """Return what a health check finds."""
        reason = self.reason or "Target.FailedHealthChecks"
        return CheckResult(healthy=False, reason=reason, description=_HEALTH[reason])

    def result(self) -> CommandResult:
        """Return what a failed command leaves behind."""
        return CommandResult(status=self.status or 1, stdout=self.output or "", stderr=self.error or "")


UNREACHABLE = CheckResult(healthy=False, reason="Target.Timeout", description=_HEALTH["Target.Timeout"])


def read_machine_rule(kind: str, given: Mapping[str, Any]) -> MachineRule:
    """Read one setting.

    :raises FaultSettingError: if it makes no sense.
    """
    readers = {**WHERE, "instance": fields.text, **MACHINES[kind]}
    if kind in _STANDING:
        readers = {name: read for name, read in readers.items() if name not in {"count", "rate", "skip"}}
    return MachineRule(fault=kind, **fields.read_all(kind, given, readers))
