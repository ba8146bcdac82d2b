"""The account's hypervisor and EC2 records as the faults let them be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sandbox.clock import Clock
from sandbox.faults.machines import UNREACHABLE, MachineRule
from sandbox.model.ports import (
    CheckResult,
    CommandResult,
    HealthCheck,
    Hypervisor,
    InstanceRecords,
    LaunchError,
    LaunchSpec,
    MachineEvents,
    MachineSpec,
)

FAILURE_SECONDS = 1.0
"""How long a failed boot or command takes."""


class Source(Protocol):
    """Where the faults are."""

    def refused_launch(self, spec: LaunchSpec) -> LaunchError | None:
        """Return EC2's refusal of a launch, if a fault hits it."""

    def machine_fault(self, kind: str, instance_id: str) -> MachineRule | None:
        """Return the fault that hits a machine."""

    def machine_is(self, kind: str, instance_id: str) -> bool:
        """Tell whether a machine is in a state that a fault sets."""


class FaultyRecords:
    """EC2's records, which refuse launches.

    :param inner: the records themselves.
    """

    def __init__(self, inner: InstanceRecords, faults: Source) -> None:
        self._inner = inner
        self._faults = faults

    def create(self, spec: LaunchSpec) -> tuple[str, str]:
        """Record a launch."""
        refusal = self._faults.refused_launch(spec)
        if refusal is not None:
            raise refusal
        return self._inner.create(spec)

    def public_keys(self, spec: LaunchSpec) -> Sequence[str]:
        """Return the spec's public keys."""
        return self._inner.public_keys(spec)

    def set_state(self, instance_id: str, state: str, reason: str) -> None:
        """Record a state."""
        self._inner.set_state(instance_id, state, reason)


class FaultyMachines:
    """A hypervisor whose machines fail.

    :param inner: the hypervisor itself.
    """

    def __init__(self, inner: Hypervisor, faults: Source, clock: Clock) -> None:
        self._inner = inner
        self._faults = faults
        self._clock = clock
        self._stillborn: dict[str, MachineEvents] = {}
        self._hung: dict[tuple[str, str], Callable[[CommandResult], None]] = {}

    def boot(self, machine: MachineSpec, events: MachineEvents) -> None:
        """Begin to boot a machine, or fail to."""
        rule = self._faults.machine_fault("boot-failure", machine.instance_id)
        if rule is None:
            self._stillborn.pop(machine.instance_id, None)
            self._inner.boot(machine, events)
            return
        self._stillborn[machine.instance_id] = events
        reason = rule.boot_failure()
        self._clock.call_later(FAILURE_SECONDS, lambda: events.failed(machine.instance_id, reason))

    def stop(self, instance_id: str) -> None:
        """Begin to stop it."""
        events = self._stillborn.get(instance_id)
        if events is None:
            self._inner.stop(instance_id)
        else:
            self._clock.call_later(FAILURE_SECONDS, lambda: events.stopped(instance_id, ""))

    def terminate(self, instance_id: str) -> None:
        """Begin to end it."""
        events = self._stillborn.pop(instance_id, None)
        if events is None:
            self._inner.terminate(instance_id)
        else:
            self._clock.call_later(FAILURE_SECONDS, lambda: events.terminated(instance_id))

    def crash(self, instance_id: str) -> None:
        """End it at once."""
        if instance_id not in self._stillborn:
            self._inner.crash(instance_id)

    def create_image(self, instance_id: str, image_id: str, done: Callable[[str | None], None]) -> None:
        """Begin to keep its file system."""
        self._inner.create_image(instance_id, image_id, done)

    def delete_image(self, image_id: str) -> None:
        """Forget an image."""
        self._inner.delete_image(image_id)

    def agent_online(self, instance_id: str) -> bool:
        """Tell whether an SSM agent would answer in it."""
        return not self._agent_gone(instance_id) and self._inner.agent_online(instance_id)

    def run_command(
        self, instance_id: str, script: str, timeout_seconds: float, done: Callable[[CommandResult], None]
    ) -> None:
        """Begin to run a script in it; one that fails or hangs by a fault is not run at all."""

        def report(result: CommandResult) -> None:
            self._hung.pop((instance_id, script), None)
            if not self._agent_gone(instance_id):
                done(result)

        if self._faults.machine_fault("hung-command", instance_id) is not None:
            self._hung[instance_id, script] = report
            killed = CommandResult(status=137, stdout="", stderr="", timed_out=True)
            self._clock.call_later(timeout_seconds, lambda: self._end_hung(instance_id, script, killed))
            return
        failed = self._faults.machine_fault("failed-command", instance_id)
        if failed is not None:
            result = failed.result()
            self._clock.call_later(FAILURE_SECONDS, lambda: report(result))
            return
        self._inner.run_command(instance_id, script, timeout_seconds, report)

    def cancel_command(self, instance_id: str, script: str) -> None:
        """Begin to end a script."""
        if (instance_id, script) in self._hung:
            killed = CommandResult(status=137, stdout="", stderr="")
            self._clock.call_later(0.0, lambda: self._end_hung(instance_id, script, killed))
        else:
            self._inner.cancel_command(instance_id, script)

    def check_target(self, instance_id: str, check: HealthCheck, done: Callable[[CheckResult], None]) -> None:
        """Begin one health check against it."""
        if instance_id in self._stillborn or self._faults.machine_is("unreachable", instance_id):
            done(UNREACHABLE)
            return
        sick = self._faults.machine_fault("unhealthy", instance_id)
        if sick is not None:
            done(sick.check())
        else:
            self._inner.check_target(instance_id, check, done)

    def console_output(self, instance_id: str) -> str:
        """Return what its console shows."""
        return self._inner.console_output(instance_id)

    def _agent_gone(self, instance_id: str) -> bool:
        faults = self._faults
        return (
            instance_id in self._stillborn
            or faults.machine_is("dead-agent", instance_id)
            or faults.machine_is("unreachable", instance_id)
        )

    def _end_hung(self, instance_id: str, script: str, result: CommandResult) -> None:
        report = self._hung.get((instance_id, script))
        if report is not None:
            report(result)
