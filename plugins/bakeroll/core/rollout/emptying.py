"""What every drain does: ask held instances to empty their log buffers, read the receipts, let go.

A termination lifecycle hook holds each instance in ``Terminating:Wait``, after the load balancer has
let go of it (https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html). There the
drain document runs; when its receipt says that nothing is left, the lifecycle action is completed.
What was sent and what came of it, SSM tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code, error_text
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import commands, receipts
from bakeroll.core.rollout.commands import Invocation
from bakeroll.core.steps import Act

HELD = "Terminating:Wait"
RETAINED = "Terminating:Retained"
"""Its hook timed out or was abandoned, and the group keeps it for a person
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-lifecycle-policy.html)."""


class Place(Protocol):
    """Where a fleet's instances are held, and by what they are emptied."""

    @property
    def group(self) -> str:
        """Name of the Auto Scaling group."""

    @property
    def termination_hook(self) -> str:
        """Name of the lifecycle hook."""

    @property
    def drain_document(self) -> str:
        """Name of the SSM document."""


@dataclass(frozen=True)
class Picture:
    """Where the instances stand.

    :ivar states: lifecycle state by id; an instance that is gone has none.
    :ivar invocations: those of the drain document by instance id, the newest first.
    """

    states: Mapping[str, str]
    invocations: Mapping[str, list[Invocation]]

    def held(self) -> list[str]:
        """Return the ids of those that wait at a hook."""
        return [instance_id for instance_id, state in self.states.items() if state == HELD]

    def newest(self, instance_id: str) -> Invocation | None:
        """Return an instance's newest invocation; None if it was never asked."""
        return next(iter(self.invocations.get(instance_id, [])), None)


class Emptying(ABC):
    """Asks up to 50 held instances, and completes the lifecycle actions of those that are empty.

    :param fleet: the fleet's name, for messages.
    :param instance_ids: at most 50.
    :param timeout: how long the drain script may take.
    :param stop_units: systemd units that it stops first.
    :param earlier: ids of the commands that there were when this attempt began: one that failed among
        them is sent again, one that fails in this attempt is told.
    """

    def __init__(
        self,
        clients: Clients,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        timeout: timedelta,
        stop_units: Sequence[str],
        earlier: Collection[str] = (),
    ) -> None:
        self._clients = clients
        self._name = fleet
        self._ids = list(instance_ids)
        self._timeout = timeout
        self._stop_units = list(stop_units)
        self._earlier = frozenset(earlier)
        self._receipts: dict[tuple[str, str], receipts.Receipt] = {}
        self._heartbeat_seconds: float | None = None
        self._next_heartbeat = 0.0
        # SSM and Auto Scaling may show a call of ours a little later; it is not made twice meanwhile.
        self._asked: dict[str, float] = {}
        self._completed: set[str] = set()

    @abstractmethod
    def now(self) -> float:
        """Return the time in seconds since the epoch."""

    @abstractmethod
    def _may_act(self) -> None:
        """Make sure, before a change, that this drain may still act."""

    @abstractmethod
    def _emptied(self, place: Place, invocation: Invocation, receipt: receipts.Receipt) -> None:
        """Note that an instance is empty, before it is let go."""

    def _runs(self, invocation: Invocation) -> bool:
        """Tell whether something may still come of an invocation."""
        return invocation.state == "running"

    def _picture(self, place: Place, ids: Sequence[str], since: float) -> Picture:
        if not ids:
            return Picture({}, {})  # all of them were lost, and said to be
        found = self._clients.autoscaling.describe_auto_scaling_instances(InstanceIds=list(ids))
        return Picture(
            {one["InstanceId"]: one["LifecycleState"] for one in found["AutoScalingInstances"]},
            commands.invocations(self._clients.ssm, place.drain_document, since),
        )

    def _complete(self, place: Place, picture: Picture) -> Act | None:
        """Let go of one whose receipt says that it is empty."""
        for instance_id in picture.held():
            if instance_id in self._completed:
                continue
            if found := self._good_receipt(instance_id, picture):
                return Act(
                    f"{instance_id} is empty ({found[1].bytes_before} bytes were buffered): complete its "
                    "lifecycle action",
                    partial(self._let_go, place, *found),
                )
        return None

    def _good_receipt(self, instance_id: str, picture: Picture) -> tuple[Invocation, receipts.Receipt] | None:
        """Return a receipt that says that the instance is empty, of whichever command."""
        for invocation in picture.invocations.get(instance_id, []):
            if invocation.state == "success":
                try:
                    receipt = self._receipt(invocation)
                except DrainError:
                    continue  # told of the newest invocation, as long as the instance can be asked again
                if receipt.empty:
                    return invocation, receipt
        return None

    def _send(self, place: Place, picture: Picture) -> Act | None:
        """Ask those that were not asked yet, or failed in an earlier attempt, and can be asked."""
        unasked = [one for one in picture.held() if self._to_be_asked(one, picture)]
        if not unasked:
            return None
        reachable = commands.online(self._clients.ssm, unasked)
        asked = [one for one in unasked if one in reachable and one not in self._asked]
        if not asked:
            return None
        return Act(f"run {place.drain_document} on {', '.join(asked)}", lambda: self._run(place, asked))

    def _to_be_asked(self, instance_id: str, picture: Picture) -> bool:
        newest = picture.newest(instance_id)
        if instance_id in self._completed or newest is None:
            return newest is None
        if self._runs(newest) or newest.command_id not in self._earlier:
            return False
        return self._good_receipt(instance_id, picture) is None

    def _receipt(self, invocation: Invocation) -> receipts.Receipt:
        key = (invocation.command_id, invocation.instance_id)
        if key not in self._receipts:
            stdout, _ = commands.output(self._clients.ssm, invocation)
            self._receipts[key] = receipts.parse(invocation.instance_id, stdout)
        return self._receipts[key]

    def _said(self, invocation: Invocation) -> str:
        """Return the end of what a failed script said."""
        _, stderr = commands.output(self._clients.ssm, invocation)
        return " ".join(stderr.split())[-500:] or "nothing"

    def _run(self, place: Place, instance_ids: list[str]) -> None:
        self._may_act()
        commands.send(
            self._clients.ssm,
            place.drain_document,
            {
                "StopUnits": [" ".join(self._stop_units)],
                "TimeoutSeconds": [str(round(self._timeout.total_seconds()))],
            },
            instance_ids,
        )
        self._asked.update(dict.fromkeys(instance_ids, self.now()))

    def _let_go(self, place: Place, invocation: Invocation, receipt: receipts.Receipt) -> None:
        self._may_act()
        self._emptied(place, invocation, receipt)
        try:
            self._clients.autoscaling.complete_lifecycle_action(
                AutoScalingGroupName=place.group,
                LifecycleHookName=place.termination_hook,
                InstanceId=invocation.instance_id,
                LifecycleActionResult="CONTINUE",
            )
        except ClientError as error:
            if not no_action(error):
                raise  # completed already, by a call whose answer was lost: the next picture shows it
        self._completed.add(invocation.instance_id)

    def _keep_alive(self, place: Place, held: Sequence[str]) -> None:
        """Restart the hook's timeout, three times in it; harmless however often it is done."""
        self._may_act()
        if self.now() < self._next_heartbeat:
            return
        if self._heartbeat_seconds is None:
            self._heartbeat_seconds = heartbeat_timeout(self._clients, self._name, place) / 3
        for instance_id in held:
            heartbeat(self._clients, place, instance_id)
        self._next_heartbeat = self.now() + self._heartbeat_seconds


def heartbeat_timeout(clients: Clients, fleet: str, place: Place) -> float:
    """Return how many seconds the hook waits for a sign of life.

    :param fleet: the fleet's name, for the message.
    :raises DrainError: if the group has no such hook.
    """
    hooks = clients.autoscaling.describe_lifecycle_hooks(
        AutoScalingGroupName=place.group, LifecycleHookNames=[place.termination_hook]
    )["LifecycleHooks"]
    if not hooks:
        raise DrainError(
            f"fleet {fleet}: {place.group} has no lifecycle hook {place.termination_hook}; apply Terraform"
        )
    return float(hooks[0]["HeartbeatTimeout"])


def heartbeat(clients: Clients, place: Place, instance_id: str) -> None:
    """Tell the hook that somebody is still at an instance; one whose action has ended is fine."""
    try:
        clients.autoscaling.record_lifecycle_action_heartbeat(
            AutoScalingGroupName=place.group,
            LifecycleHookName=place.termination_hook,
            InstanceId=instance_id,
        )
    except ClientError as error:
        if not no_action(error):
            raise  # its action ended since we looked: the next picture shows it


def no_action(error: ClientError) -> bool:
    """Tell whether an error says that an instance waits at this hook no more."""
    return error_code(error) == "ValidationError" and "No active Lifecycle Action" in error_text(error)
