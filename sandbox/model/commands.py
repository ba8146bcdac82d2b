"""SSM Run Command: commands and their invocations, one per instance.

Source: Systems Manager user guide, "Understanding command statuses", and API reference, SendCommand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.clock import Handle
from sandbox.model.documents import Parameters, render
from sandbox.model.errors import ServiceError
from sandbox.model.instances import Instance
from sandbox.model.ports import CommandResult

if TYPE_CHECKING:
    from sandbox.model.account import Account

STDOUT_LIMIT = 24_000
"""Characters that GetCommandInvocation shows of standard output."""
STDERR_LIMIT = 8_000
"""Characters that GetCommandInvocation shows of standard error."""
MAX_INSTANCES = 50
ENDED = frozenset({"Success", "Failed", "TimedOut", "Cancelled"})


@dataclass(kw_only=True)
class Invocation:
    """A command on one instance."""

    command_id: str
    instance_id: str
    requested: float
    status: str = "Pending"
    """Pending, InProgress, Cancelling, Success, Failed, TimedOut or Cancelled."""
    status_details: str = "Pending"
    response_code: int = -1
    stdout: str = ""
    stderr: str = ""
    started: float | None = None
    ended: float | None = None
    timer: Handle | None = field(default=None, repr=False)


@dataclass(kw_only=True)
class Command:
    """A command as it was sent."""

    command_id: str
    document_name: str
    document_version: str
    parameters: Parameters
    comment: str
    script: str
    timeout_seconds: float
    execution_timeout_seconds: float
    max_concurrency: int
    max_errors: int
    requested: float
    invocations: dict[str, Invocation]
    queue: deque[Invocation] = field(default_factory=deque, repr=False)
    running: int = 0
    cancelled: bool = False

    @property
    def expires(self) -> float:
        """When delivery and execution are given up."""
        return self.requested + self.timeout_seconds + self.execution_timeout_seconds

    @property
    def completed_count(self) -> int:
        """How many invocations ended, well or badly."""
        return sum(each.status in ENDED for each in self.invocations.values())

    @property
    def error_count(self) -> int:
        """How many invocations failed or timed out."""
        return sum(each.status in {"Failed", "TimedOut"} for each in self.invocations.values())

    @property
    def status(self) -> str:
        """The command's own status."""
        statuses = {each.status for each in self.invocations.values()}
        if statuses == {"Pending"}:
            return "Pending"
        if not statuses <= ENDED:
            return "Cancelling" if self.cancelled else "InProgress"
        return next(each for each in ("Failed", "TimedOut", "Cancelled", "Success") if each in statuses)


class Commands:
    """The account's Run Command."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._by_id: dict[str, Command] = {}

    def __iter__(self) -> Iterator[Command]:
        return iter(self._by_id.values())

    def online(self, instance_id: str) -> bool:
        """Tell whether an instance's agent answers (PingStatus ``Online``)."""
        instance = self._account.instances.find(instance_id)
        return (
            instance is not None
            and instance.state == "running"
            and self._account.hypervisor.agent_online(instance_id)
        )

    def agents(self) -> Iterator[tuple[Instance, bool]]:
        """Return every instance that was running an agent and is not gone, and whether it is online."""
        for instance in self._account.instances:
            if instance.state in {"running", "stopping", "stopped"}:
                yield instance, self.online(instance.instance_id)

    def send(
        self,
        *,
        document: Mapping[str, Any],
        document_name: str,
        instance_ids: Sequence[str],
        document_version: str = "1",
        parameters: Parameters | None = None,
        timeout_seconds: float = 3600.0,
        max_concurrency: int = 50,
        max_errors: int = 0,
        comment: str = "",
    ) -> Command:
        """Send a command.

        :param document: the parsed content of the document.
        :param timeout_seconds: how long delivery to an agent may take.
        :param max_concurrency: how many instances run it at a time.
        :param max_errors: how many may fail before it is sent to no more.
        :raises ServiceError: ``InvalidInstanceId`` if one instance is not online: nothing is sent then.
        """
        ids = list(dict.fromkeys(instance_ids))
        if not ids or len(ids) > MAX_INSTANCES:
            raise ServiceError(
                "ValidationException", f"Between 1 and {MAX_INSTANCES} instance IDs are needed."
            )
        offline = [each for each in ids if not self.online(each)]
        if offline:
            raise ServiceError(
                "InvalidInstanceId",
                f"Instances [[{', '.join(offline)}]] not in a valid state for account "
                f"{self._account.account_id}",
            )
        script, execution_timeout_seconds = render(document, parameters or {})
        now = self._account.clock.now()
        command_id = self._account.new_id()
        invocations = {
            each: Invocation(command_id=command_id, instance_id=each, requested=now) for each in ids
        }
        command = Command(
            command_id=command_id,
            document_name=document_name,
            document_version=document_version,
            parameters=dict(parameters or {}),
            comment=comment,
            script=script,
            timeout_seconds=timeout_seconds,
            execution_timeout_seconds=execution_timeout_seconds,
            max_concurrency=max(1, max_concurrency),
            max_errors=max_errors,
            requested=now,
            invocations=invocations,
            queue=deque(invocations.values()),
        )
        self._by_id[command_id] = command
        delay = self._account.times.command_delivery_seconds
        self._account.clock.call_later(delay, lambda: self._dispatch(command))
        return command

    def get(self, command_id: str) -> Command:
        """Return a command.

        :raises ServiceError: ``InvalidCommandId``.
        """
        command = self._by_id.get(command_id)
        if command is None:
            raise ServiceError("InvalidCommandId", f"The command ID {command_id} does not exist.")
        return command

    def invocation(self, command_id: str, instance_id: str) -> Invocation:
        """Return a command's invocation on one instance.

        :raises ServiceError: ``InvocationDoesNotExist``.
        """
        command = self._by_id.get(command_id)
        if command is None or instance_id not in command.invocations:
            raise ServiceError("InvocationDoesNotExist", "")
        return command.invocations[instance_id]

    def cancel(self, command_id: str, instance_ids: Sequence[str] = ()) -> None:
        """Begin to end a command, on some of its instances or on all.

        :raises ServiceError: ``InvalidCommandId``.
        """
        command = self.get(command_id)
        command.cancelled = not instance_ids
        for invocation in command.invocations.values():
            if instance_ids and invocation.instance_id not in instance_ids:
                continue
            if invocation.status == "Pending":
                self._end(command, invocation, "Cancelled", "Cancelled")
            elif invocation.status == "InProgress":
                invocation.status = invocation.status_details = "Cancelling"
                self._account.hypervisor.cancel_command(invocation.instance_id, command.script)

    def _dispatch(self, command: Command) -> None:
        while command.queue and command.running < command.max_concurrency:
            invocation = command.queue.popleft()
            if invocation.status != "Pending":
                continue
            if command.error_count > command.max_errors:
                self._end(command, invocation, "Cancelled", "Terminated")
                continue
            command.running += 1
            self._deliver(command, invocation)

    def _deliver(self, command: Command, invocation: Invocation) -> None:
        clock = self._account.clock
        if not self.online(invocation.instance_id):
            # The agent went away after the command was accepted: it is offered until the delivery timeout.
            invocation.timer = clock.call_at(
                command.requested + command.timeout_seconds,
                lambda: self._finish(command, invocation, "TimedOut", "DeliveryTimedOut"),
            )
            return
        invocation.status = invocation.status_details = "InProgress"
        invocation.started = clock.now()
        invocation.timer = clock.call_at(
            command.expires, lambda: self._finish(command, invocation, "TimedOut", "ExecutionTimedOut")
        )

        def done(result: CommandResult) -> None:
            with self._account.lock:
                self._report(command, invocation, result)

        self._account.hypervisor.run_command(
            invocation.instance_id, command.script, command.execution_timeout_seconds, done
        )

    def _report(self, command: Command, invocation: Invocation, result: CommandResult) -> None:
        instance = self._account.instances.get(invocation.instance_id)
        if invocation.status in ENDED or instance.state not in {"running", "stopping"}:
            # An agent that went down with its machine cannot report.
            return
        invocation.stdout = result.stdout[:STDOUT_LIMIT]
        invocation.stderr = result.stderr[:STDERR_LIMIT]
        invocation.response_code = result.status
        if invocation.status == "Cancelling":
            self._finish(command, invocation, "Cancelled", "Cancelled")
        elif result.timed_out:
            self._finish(command, invocation, "TimedOut", "ExecutionTimedOut")
        elif result.status == 0:
            self._finish(command, invocation, "Success", "Success")
        else:
            self._finish(command, invocation, "Failed", "Failed")

    def _finish(self, command: Command, invocation: Invocation, status: str, details: str) -> None:
        command.running -= 1
        self._end(command, invocation, status, details)
        self._dispatch(command)

    def _end(self, command: Command, invocation: Invocation, status: str, details: str) -> None:
        if invocation.timer is not None:
            invocation.timer.cancel()
        invocation.status, invocation.status_details = status, details
        invocation.ended = self._account.clock.now()
        resources = [self._account.arn("ec2", f"instance/{invocation.instance_id}")]
        self._account.bus.put(
            "aws.ssm",
            "EC2 Command Invocation Status-change Notification",
            resources,
            {
                "command-id": command.command_id,
                "document-name": command.document_name,
                "instance-id": invocation.instance_id,
                "status": status,
            },
        )
