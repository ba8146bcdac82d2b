"""Empty the log buffers of terminating instances, then let them go.

A termination lifecycle hook holds each instance in ``Terminating:Wait``, after the load balancer has
let go of it (https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html). There the
drain document runs; when its receipt says that nothing is left, the lifecycle action is completed.
Nothing is remembered but a loss: what was sent and what came of it, SSM tells.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code, error_text
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import commands, receipts
from bakeroll.core.rollout.commands import Invocation
from bakeroll.core.rollout.journal import FleetRecord, Ledger, deadline_name
from bakeroll.core.steps import Act, Decision, Done, Wait

HELD = "Terminating:Wait"
RETAINED = "Terminating:Retained"
"""Its hook timed out or was abandoned, and the group keeps it for a person
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-lifecycle-policy.html)."""
LONGEST_DEREGISTRATION = timedelta(hours=1)
"""A target group's deregistration delay is at most 3600 s
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html)."""


@dataclass(frozen=True)
class _Picture:
    """Where the instances stand.

    :ivar states: lifecycle state by id; an instance that is gone has none.
    """

    states: dict[str, str]
    invocations: dict[str, list[Invocation]]

    def held(self) -> list[str]:
        return [instance_id for instance_id, state in self.states.items() if state == HELD]

    def newest(self, instance_id: str) -> Invocation | None:
        return next(iter(self.invocations.get(instance_id, [])), None)


class Drain:
    """Drain up to 50 instances that were retired.

    :param instance_ids: at most 50.
    :param timeout: how long the drain script may take.
    :param stop_units: systemd units that it stops first.
    :param earlier: ids of the commands that there were when this attempt began: one that failed among
        them is sent again, one that fails in this attempt ends it.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: Ledger,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        wave: int,
        timeout: timedelta,
        stop_units: Sequence[str],
        earlier: Collection[str] = (),
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._name = fleet
        self._ids = list(instance_ids)
        self._wave = wave
        self._timeout = timeout
        self._stop_units = list(stop_units)
        self._earlier = frozenset(earlier)
        self._receipts: dict[tuple[str, str], receipts.Receipt] = {}
        self._next_heartbeat = 0.0
        # SSM and Auto Scaling may show a call of ours a little later; it is not made twice meanwhile.
        self._asked: set[str] = set()
        self._completed: set[str] = set()

    def look(self) -> Decision:
        """Decide what is to be done for the instances that are not gone yet."""
        journal = self._ledger.read()
        record = journal.fleets[self._name]
        ids = [instance_id for instance_id in self._ids if instance_id not in record.lost]
        picture = self._picture(record, ids, journal.opened_at)
        act = self._complete(record, picture) or self._send(record, picture)
        if act:
            return act
        self._refuse_failures(picture)
        self._refuse_retained(picture)
        left = {one: state for one, state in picture.states.items() if state != "Terminated"}
        if left:
            return self._wait(record, picture, left)
        return self._finish(record, picture, ids)

    def _picture(self, record: FleetRecord, ids: list[str], since: float) -> _Picture:
        if not ids:
            return _Picture({}, {})  # all of them were lost, and said to be
        found = self._clients.autoscaling.describe_auto_scaling_instances(InstanceIds=ids)
        return _Picture(
            {one["InstanceId"]: one["LifecycleState"] for one in found["AutoScalingInstances"]},
            commands.invocations(self._clients.ssm, record.drain_document, since),
        )

    def earlier_commands(self) -> list[str]:
        """Return the ids of all commands that there are for these instances, whatever came of them."""
        journal = self._ledger.read()
        picture = self._picture(journal.fleets[self._name], self._ids, journal.opened_at)
        known = {one.command_id for each in self._ids for one in picture.invocations.get(each, [])}
        return sorted(known)

    def _complete(self, record: FleetRecord, picture: _Picture) -> Act | None:
        """Let go of those whose receipt says that they are empty."""
        for instance_id in picture.held():
            if instance_id in self._completed:
                continue
            if receipt := self._good_receipt(instance_id, picture):
                return Act(
                    f"{instance_id} is empty ({receipt.bytes_before} bytes were buffered): complete its "
                    "lifecycle action",
                    partial(self._let_go, record, instance_id),
                )
            self._refuse_rest(picture.newest(instance_id))
        return None

    def _good_receipt(self, instance_id: str, picture: _Picture) -> receipts.Receipt | None:
        """Return a receipt that says that the instance is empty, of whichever command."""
        for invocation in picture.invocations.get(instance_id, []):
            if invocation.state == "success":
                try:
                    receipt = self._receipt(invocation)
                except DrainError:
                    continue  # said by _refuse_rest, as long as the instance can be asked again
                if receipt.empty:
                    return receipt
        return None

    def _refuse_rest(self, newest: Invocation | None) -> None:
        """Refuse a success of this attempt whose receipt cannot be read or shows a rest."""
        if newest is None or newest.state != "success" or newest.command_id in self._earlier:
            return
        receipt = self._receipt(newest)
        raise DrainError(
            f"{newest.instance_id}: the drain script says success but {receipt.bytes_after} bytes in "
            f"{receipt.queue_length_after} chunks and {receipt.unread_bytes} unread bytes are left; "
            "look at Fluentd's output on the instance, then clear this task"
        )

    def _send(self, record: FleetRecord, picture: _Picture) -> Act | None:
        """Ask those that were not asked yet, or failed in an earlier attempt, and can be asked."""
        unasked = [one for one in picture.held() if self._to_be_asked(one, picture)]
        if not unasked:
            return None
        reachable = commands.online(self._clients.ssm, unasked)
        asked = [one for one in unasked if one in reachable and one not in self._asked]
        if not asked:
            return None
        return Act(
            f"run {record.drain_document} on {', '.join(asked)}",
            lambda: self._run(record.drain_document, asked),
        )

    def _to_be_asked(self, instance_id: str, picture: _Picture) -> bool:
        newest = picture.newest(instance_id)
        if instance_id in self._completed or newest is None:
            return newest is None
        if newest.state == "running" or newest.command_id not in self._earlier:
            return False
        return self._good_receipt(instance_id, picture) is None

    def _refuse_failures(self, picture: _Picture) -> None:
        failed = [
            invocation
            for instance_id in picture.held()
            if (invocation := picture.newest(instance_id))
            and invocation.state == "failed"
            and invocation.command_id not in self._earlier
        ]
        if failed:
            _, stderr = commands.output(self._clients.ssm, failed[0])
            said = " ".join(stderr.split())[-500:] or "nothing"
            raise DrainError(
                f"fleet {self._name}: draining failed on {', '.join(one.instance_id for one in failed)}: "
                f"{failed[0].status}, it says: {said}. The instances are held until their lifecycle hook "
                "times out, then retained or terminated as its default result says; mend the cause and "
                "clear this task, which asks them again"
            )

    def _refuse_retained(self, picture: _Picture) -> None:
        retained = [instance_id for instance_id, state in picture.states.items() if state == RETAINED]
        if retained:
            self._note_loss(retained)
            raise DrainError(
                f"fleet {self._name}: {', '.join(retained)} was not drained before its lifecycle hook timed "
                "out and is retained, its log buffers still on its disk: save them, then terminate it by "
                "name. This is noted in the journal; clear this task or start a new run to go on"
            )

    def _wait(self, record: FleetRecord, picture: _Picture, left: dict[str, str]) -> Wait:
        seconds = (self._timeout + LONGEST_DEREGISTRATION).total_seconds()
        deadline = self._ledger.deadline(self._name, deadline_name(self._wave, "drain"), seconds)
        stages = ", ".join(f"{one} {self._stage(one, state, picture)}" for one, state in sorted(left.items()))
        if self._ledger.now() >= deadline:
            raise DrainError(
                f"fleet {self._name}: after {seconds:.0f} s still not drained: {stages}; look at the SSM "
                "agents and scaling activities, then clear this task"
            )
        gone = len(self._ids) - len(left)
        return Wait(
            f"{gone} of {len(self._ids)} drained and gone; {stages}",
            lambda: self._keep_alive(record, picture.held()),
        )

    def _stage(self, instance_id: str, state: str, picture: _Picture) -> str:
        if state != HELD:
            return state
        invocation = picture.newest(instance_id)
        if self._to_be_asked(instance_id, picture) and instance_id not in self._asked:
            return "waits for its SSM agent"
        return f"drains ({invocation.status})" if invocation else HELD

    def _finish(self, record: FleetRecord, picture: _Picture, ids: list[str]) -> Decision:
        drained: list[dict[str, Any]] = []
        lost: list[str] = []
        for instance_id in ids:
            receipt = self._good_receipt(instance_id, picture)
            if receipt is None:
                lost.append(instance_id)
            else:
                drained.append({"instance_id": instance_id, **receipt.model_dump()})
        if lost:
            self._note_loss(lost)
            raise DrainError(
                f"fleet {self._name}: {', '.join(lost)} went without a receipt that says it is empty "
                f"(terminated directly, or lifecycle hook {record.termination_hook} timed out): log "
                "lines still buffered there may be lost. This is noted in the journal; clear "
                "this task or start a new run to go on"
            )
        noted = [{"instance_id": one, "lost": True} for one in self._ids if one in record.lost]
        return Done(f"{len(drained)} instances drained and gone", drained + noted)

    def _note_loss(self, lost: Sequence[str]) -> None:
        self._ledger.update_fleet(
            self._name,
            lambda record: record.model_copy(update={"lost": tuple(dict.fromkeys((*record.lost, *lost)))}),
        )

    def _receipt(self, invocation: Invocation) -> receipts.Receipt:
        key = (invocation.command_id, invocation.instance_id)
        if key not in self._receipts:
            stdout, _ = commands.output(self._clients.ssm, invocation)
            self._receipts[key] = receipts.parse(invocation.instance_id, stdout)
        return self._receipts[key]

    def _run(self, document: str, instance_ids: list[str]) -> None:
        self._ledger.read()
        commands.send(
            self._clients.ssm,
            document,
            {
                "StopUnits": [" ".join(self._stop_units)],
                "TimeoutSeconds": [str(round(self._timeout.total_seconds()))],
            },
            instance_ids,
        )
        self._asked.update(instance_ids)

    def _let_go(self, record: FleetRecord, instance_id: str) -> None:
        self._ledger.read()
        try:
            self._clients.autoscaling.complete_lifecycle_action(
                AutoScalingGroupName=record.group,
                LifecycleHookName=record.termination_hook,
                InstanceId=instance_id,
                LifecycleActionResult="CONTINUE",
            )
        except ClientError as error:
            if not _no_action(error):
                raise  # completed already, by a call whose answer was lost: the next picture shows it
        self._completed.add(instance_id)

    @cached_property
    def _heartbeat_seconds(self) -> float:
        """How often a hook is told that we are still at it: three times in its timeout."""
        record = self._ledger.read().fleets[self._name]
        hooks = self._clients.autoscaling.describe_lifecycle_hooks(
            AutoScalingGroupName=record.group, LifecycleHookNames=[record.termination_hook]
        )["LifecycleHooks"]
        if not hooks:
            raise DrainError(
                f"fleet {self._name}: {record.group} has no lifecycle hook {record.termination_hook}; "
                "apply Terraform"
            )
        return hooks[0]["HeartbeatTimeout"] / 3

    def _keep_alive(self, record: FleetRecord, held: Sequence[str]) -> None:
        """Renew the lease and restart the hook's timeout; harmless however often it is done."""
        self._ledger.read()
        if self._ledger.now() < self._next_heartbeat:
            return
        for instance_id in held:
            try:
                self._clients.autoscaling.record_lifecycle_action_heartbeat(
                    AutoScalingGroupName=record.group,
                    LifecycleHookName=record.termination_hook,
                    InstanceId=instance_id,
                )
            except ClientError as error:
                if not _no_action(error):
                    raise  # its action ended since we looked: the next picture shows it
        self._next_heartbeat = self._ledger.now() + self._heartbeat_seconds


def _no_action(error: ClientError) -> bool:
    return error_code(error) == "ValidationError" and "No active Lifecycle Action" in error_text(error)
