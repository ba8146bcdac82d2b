"""Machines that are only numbers: for tests, fleets of 1000 and simulated rollouts.

Every behaviour is a setting per image and may be changed for one instance: what it takes to boot,
whether its targets are healthy, what its commands answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sandbox.clock import Clock, Handle
from sandbox.model.ports import (
    CheckResult,
    CommandResult,
    HealthCheck,
    MachineEvents,
    MachineSpec,
)

Answer = Callable[[str, str], CommandResult]
"""Called with instance id and script when a command ends."""


def _answer_nothing(_instance_id: str, _script: str) -> CommandResult:
    return CommandResult(status=0, stdout="", stderr="")


@dataclass(kw_only=True)
class Behaviour:
    """How machines of an image behave; times in seconds."""

    boot_seconds: float = 20.0
    stop_seconds: float = 2.0
    terminate_seconds: float = 3.0
    boot_failure: str | None = None
    """Why it cannot boot."""
    healthy_after_seconds: float = 5.0
    """From running to passing health checks."""
    check: CheckResult = field(default_factory=lambda: CheckResult(healthy=True))
    """What a check answers once it could be healthy."""
    agent_after_seconds: float = 1.0
    agent_online: bool = True
    command_seconds: float = 2.0
    answer: Answer = _answer_nothing


@dataclass(kw_only=True)
class _Machine:
    spec: MachineSpec
    running_since: float | None = None
    commands: dict[str, tuple[Handle, Callable[[CommandResult], None]]] = field(default_factory=dict)


NOT_YET = CheckResult(healthy=False, reason="Target.FailedHealthChecks", description="Health checks failed")


class VirtualHypervisor:
    """Boots nothing, in virtual time.

    :param clock: when things happen.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._machines: dict[str, _Machine] = {}
        self.default = Behaviour()
        self.images: dict[str, Behaviour] = {}
        """Behaviour by image id, where it differs from the default."""
        self.instances: dict[str, Behaviour] = {}
        """Behaviour by instance id, before its image's."""

    def behaviour(self, instance_id: str) -> Behaviour:
        """Return how an instance behaves now."""
        own = self.instances.get(instance_id)
        if own is not None:
            return own
        machine = self._machines.get(instance_id)
        return self.images.get(machine.spec.image_id, self.default) if machine else self.default

    def boot(self, machine: MachineSpec, events: MachineEvents) -> None:
        """Let it run after its image's boot time."""
        instance_id = machine.instance_id
        booting = _Machine(spec=machine)
        self._machines[instance_id] = booting
        self._events = events
        behaviour = self.behaviour(instance_id)

        def up() -> None:
            if self._machines.get(instance_id) is not booting:
                return
            if behaviour.boot_failure is not None:
                events.failed(instance_id, behaviour.boot_failure)
                return
            booting.running_since = self._clock.now()
            events.booted(instance_id)

        self._clock.call_later(behaviour.boot_seconds, up)

    def stop(self, instance_id: str) -> None:
        """Stop it a little later."""
        events, seconds = self._events, self.behaviour(instance_id).stop_seconds
        self._halt(instance_id)
        self._clock.call_later(seconds, lambda: events.stopped(instance_id, ""))

    def terminate(self, instance_id: str) -> None:
        """End it a little later."""
        events, seconds = self._events, self.behaviour(instance_id).terminate_seconds
        self._halt(instance_id)
        self._clock.call_later(seconds, lambda: events.terminated(instance_id))

    def crash(self, instance_id: str, reason: str = "Server.InternalError: crashed") -> None:
        """Let a machine stop by itself."""
        self._halt(instance_id)
        self._events.stopped(instance_id, reason)

    def create_image(self, instance_id: str, image_id: str, done: Callable[[str | None], None]) -> None:
        """Give the image the behaviour that the instance had."""
        self.images[image_id] = replace(self.behaviour(instance_id))
        self._clock.call_later(1.0, lambda: done(None))

    def delete_image(self, image_id: str) -> None:
        """Forget an image's behaviour."""
        self.images.pop(image_id, None)

    def agent_online(self, instance_id: str) -> bool:
        """Tell whether the agent has started and may answer."""
        behaviour = self.behaviour(instance_id)
        since = self._since(instance_id)
        return behaviour.agent_online and since is not None and since >= behaviour.agent_after_seconds

    def run_command(
        self, instance_id: str, script: str, timeout_seconds: float, done: Callable[[CommandResult], None]
    ) -> None:
        """Answer after the behaviour's time, or time out."""
        machine = self._machines[instance_id]
        behaviour = self.behaviour(instance_id)

        def end() -> None:
            machine.commands.pop(script, None)
            if behaviour.command_seconds > timeout_seconds:
                done(CommandResult(status=137, stdout="", stderr="", timed_out=True))
            else:
                done(behaviour.answer(instance_id, script))

        seconds = min(behaviour.command_seconds, timeout_seconds)
        machine.commands[script] = (self._clock.call_later(seconds, end), done)

    def cancel_command(self, instance_id: str, script: str) -> None:
        """End a running command as if it had been killed."""
        machine = self._machines.get(instance_id)
        running = machine.commands.pop(script, None) if machine else None
        if running is not None:
            handle, done = running
            handle.cancel()
            self._clock.call_later(0.0, lambda: done(CommandResult(status=137, stdout="", stderr="")))

    def check_target(
        self,
        instance_id: str,
        check: HealthCheck,  # noqa: ARG002 - the port's signature
        done: Callable[[CheckResult], None],
    ) -> None:
        """Answer at once."""
        behaviour = self.behaviour(instance_id)
        since = self._since(instance_id)
        if since is None or since < behaviour.healthy_after_seconds:
            done(NOT_YET)
        else:
            done(behaviour.check)

    def console_output(self, instance_id: str) -> str:
        """Return one line."""
        return f"virtual machine {instance_id}\n"

    def _since(self, instance_id: str) -> float | None:
        machine = self._machines.get(instance_id)
        if machine is None or machine.running_since is None:
            return None
        return self._clock.now() - machine.running_since

    def _halt(self, instance_id: str) -> None:
        machine = self._machines.pop(instance_id, None)
        if machine is not None:
            for handle, _done in machine.commands.values():
                handle.cancel()
