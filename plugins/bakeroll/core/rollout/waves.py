"""The steps of a rollout: raise capacity, await it, retire old instances, give everything back.

Each step describes the fleet, makes one pure decision (:mod:`bakeroll.core.rollout.capacity`), acts once, and
starts over (:mod:`bakeroll.core.steps`). Desired capacity is never written: the surge is a raised
minimum, which AWS follows by itself and below which no scaling policy can go
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-capacity-limits.html).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code, error_text
from bakeroll.core.errors import CapacityError, FleetError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout import health
from bakeroll.core.rollout.capacity import (
    REBALANCE,
    astray,
    gone,
    live_target,
    may_go,
    next_surge,
    next_to_retire,
    raised,
    share_of,
    sizes_after,
    surge_left,
)
from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.journal import Before, FleetRecord, Ledger, Surge, deadline_name
from bakeroll.core.steps import Act, Decision, Done, Wait

RETIRE_BATCH = 20
"""How many instances the minimum makes room for at once; small, so that a policy finds little room."""

DRAIN_CHUNK = 50
"""SendCommand takes at most 50 instance ids (API reference, InstanceIds)."""

PROTECTION_CHUNK = 50
"""SetInstanceProtection takes at most 50 instance ids (API reference, InstanceIds)."""


class _FleetStep(ABC):
    """What the steps have in common: a fresh picture of one fleet, and its record in our journal."""

    def __init__(
        self, clients: Clients, ledger: Ledger, fleet: str, *, wave: int = 1, timeout: timedelta
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._name = fleet
        self._wave = wave
        self._timeout = timeout.total_seconds()

    @abstractmethod
    def look(self) -> Decision:
        """Take a fresh picture and decide."""

    def _picture(self) -> tuple[Fleet, FleetRecord]:
        records = self._ledger.read().fleets
        if self._name not in records:
            raise FleetError(
                f"fleet {self._name} is not in the journal: Terraform's output `fleets` has only "
                f"{', '.join(sorted(records)) or 'nothing'}; name the same fleets in both"
            )
        record = records[self._name]
        return fleets.describe(self._clients, self._name, record.group), record

    def _deadline(self, step: str) -> float:
        return self._ledger.deadline(self._name, deadline_name(self._wave, step), self._timeout)

    def _change(self, expected: Surge | None, update: dict[str, object]) -> None:
        """Change the fleet's record, unless another attempt of this run was quicker: then look again."""
        self._ledger.update_fleet(
            self._name,
            lambda record: record.model_copy(update=update) if record.surge == expected else record,
        )

    def _passed(self, deadline: float) -> str:
        """Say how long the step has been going on, and how long it may."""
        passed = self._timeout - (deadline - self._ledger.now())
        return f"{max(0, round(passed))} s of {self._timeout:.0f} s"

    def _share(self, record: FleetRecord) -> str:
        return record.waves[self._wave - 1]


class ScaleOut(_FleetStep):
    """Raise the minimum so that AWS launches this wave's new instances beside the old ones."""

    def look(self) -> Decision:
        """Decide whether capacity is still to be raised."""
        fleet, record = self._picture()
        if not fleet.old:
            return Done(f"all {len(fleet.counted)} instances of {fleet.group} are current; nothing to raise")
        if record.surge and (act := self._carry_out(fleet, record, record.surge)):
            return act
        wanted = next_surge(fleet, record, self._share(record))
        if wanted is None:
            return Done(f"{fleet.group} has the capacity for this wave: desired {fleet.desired}")
        return Act(
            f"note the intent: {wanted.amount} instances beyond {live_target(fleet, record)}",
            lambda: self._intend(fleet, record, wanted),
        )

    def _carry_out(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Do what is noted and not done yet; None if it is done."""
        if surge.applied and record.before and not surge.owns(fleet.minimum):
            return Act(
                f"take MinSize {fleet.minimum}, which somebody set meanwhile, as the group's own",
                lambda: self._adopt(fleet, record, surge),
            )
        if not raised(fleet, surge):
            return Act(
                f"raise {fleet.group}: MinSize {fleet.minimum} -> {surge.minimum}, "
                f"MaxSize {fleet.maximum} -> {max(fleet.maximum, surge.maximum)}, new instances protected",
                lambda: self._raise(fleet, surge),
            )
        if surge.applied:
            return None
        if fleet.desired < surge.minimum:
            passed = self._passed(self._deadline("await_capacity"))
            return Wait(
                f"AWS raises desired capacity {fleet.desired} -> {surge.minimum}, {passed}", self._ledger.read
            )
        applied = surge.model_copy(update={"applied": True})
        return Act("note that capacity is raised", lambda: self._change(surge, {"surge": applied}))

    def _adopt(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> None:
        before = record.before and record.before.model_copy(update={"minimum": fleet.minimum})
        # A minimum above ours has taken our capacity for its own; one below is raised again for this wave.
        kept = None if fleet.minimum > surge.minimum else surge.model_copy(update={"previous": fleet.minimum})
        self._change(surge, {"before": before, "surge": kept})

    def _intend(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> None:
        before = record.before or Before(
            minimum=fleet.minimum,
            maximum=fleet.maximum,
            protected=fleet.new_instances_protected,
            suspended=tuple(sorted(fleet.suspended)),
        )
        self._deadline("await_capacity")
        self._change(record.surge, {"before": before, "surge": surge})

    def _raise(self, fleet: Fleet, surge: Surge) -> None:
        self._ledger.read()
        if REBALANCE not in fleet.suspended:
            self._clients.autoscaling.suspend_processes(
                AutoScalingGroupName=fleet.group, ScalingProcesses=[REBALANCE]
            )
        self._clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=fleet.group,
            MinSize=max(fleet.minimum, surge.minimum),
            MaxSize=max(fleet.maximum, surge.maximum),
            NewInstancesProtectedFromScaleIn=True,
        )


class AwaitCapacity(_FleetStep):
    """Wait until this wave's new instances are in service and healthy in every target group."""

    def look(self) -> Decision:
        """Count what serves; give up when AWS says that it cannot come, or when time is up."""
        fleet, record = self._picture()
        wanted = share_of(live_target(fleet, record), self._share(record))
        if fleet.ready_current >= wanted:
            return Done(f"{fleet.ready_current} of {wanted} new instances in service and healthy")
        deadline = self._deadline("await_capacity")
        launches = health.failed_launches(
            self._clients.autoscaling, fleet.group, since=deadline - self._timeout
        )
        hopeless = next((launch for launch in launches if launch.final), None)
        if hopeless:
            raise CapacityError(
                f"fleet {fleet.name}: {fleet.group} cannot launch new instances: {hopeless.message} "
                "Mend that and start a new run; the old instances serve on"
            )
        if self._ledger.now() >= deadline:
            raise CapacityError(self._too_late(fleet, wanted, launches))
        latest = f"; last failed launch: {launches[0].message}" if launches else ""
        return Wait(f"{fleet.progress(wanted)}, {self._passed(deadline)}{latest}", self._ledger.read)

    def _too_late(self, fleet: Fleet, wanted: int, launches: Sequence[health.FailedLaunch]) -> str:
        unready = [instance for instance in fleet.current if not fleet.ready(instance)]
        said = health.evidence(launches, [target for one in unready for target in one.targets])
        console = health.console_output(self._clients.ec2, unready[0].instance_id) if unready else ""
        return (
            f"fleet {fleet.name}: only {fleet.progress(wanted)} after {self._timeout:.0f} s; "
            f"AWS says: {said or 'nothing about why'}. The old instances serve on; mend the new version "
            "and start a new run" + (f". Console of {unready[0].instance_id}:\n{console}" if console else "")
        )


class Retire(_FleetStep):
    """Terminate this wave's old instances by name, as many as the floor allows, one after the other."""

    def look(self) -> Decision:
        """Decide which instance may go next; the result is the ids that went, in chunks for draining."""
        fleet, record = self._picture()
        surge = record.surge
        if surge is None:
            return self._without_surge(fleet, record)
        if strays := astray(fleet, surge):
            return Act(
                f"keep {', '.join(strays)}: the target went back to what they run",
                lambda: self._keep(surge, strays),
            )
        if surge.applied and fleet.minimum == surge.previous != surge.minimum:
            return Act(
                f"set MinSize {fleet.minimum} -> {surge.minimum} for the instances that go",
                lambda: self._set_minimum(fleet, surge.minimum),
            )
        if surge.applied and fleet.minimum > surge.minimum:
            raise FleetError(
                f"fleet {fleet.name}: somebody set MinSize {fleet.minimum} meanwhile, with which no old "
                "instance can go; start a new run, which takes that as the fleet's own and raises it again"
            )
        victims = [one for one in fleet.old if one.instance_id in surge.retiring]
        live = live_target(fleet, record)
        victim = next((one for one in victims if may_go(fleet, one, live)), None)
        if victim:
            return Act(f"terminate {victim.instance_id}", lambda: self._terminate(victim))
        if victims:
            return self._wait(fleet, live, len(victims))
        return self._next(fleet, record, surge, live)

    def _excess(self, fleet: Fleet, record: FleetRecord) -> int:
        """Return how many old instances are more than this wave leaves standing."""
        live = live_target(fleet, record)
        return len(fleet.old) - (live - share_of(live, self._share(record)))

    def _without_surge(self, fleet: Fleet, record: FleetRecord) -> Decision:
        excess = self._excess(fleet, record)
        if excess > 0:
            raise FleetError(
                f"fleet {fleet.name}: {excess} instances are not current but no capacity was raised for "
                "them: the launch template changed after scale_out; start a new run"
            )
        return self._done(fleet, record)

    def _done(self, fleet: Fleet, record: FleetRecord) -> Done:
        """Hand over all that this rollout retired, in an earlier run too: what is drained is seen at once."""
        ids = gone(fleet, record)
        chunks = [ids[start : start + DRAIN_CHUNK] for start in range(0, len(ids), DRAIN_CHUNK)]
        return Done(f"{len(ids)} old instances retired" if ids else "no old instance to retire", chunks)

    def _next(self, fleet: Fleet, record: FleetRecord, surge: Surge, live: int) -> Decision:
        excess = self._excess(fleet, record)
        if excess <= 0:
            return self._done(fleet, record)
        left = surge_left(fleet, record)
        if left == 0:
            raise FleetError(
                f"fleet {fleet.name}: {excess} old instances are left and no raised capacity stands in for "
                "them; start a new run, which raises it again"
            )
        batch = next_to_retire(fleet, live, min(excess, left, RETIRE_BATCH))
        if not batch:
            return self._wait(fleet, live, excess)
        names = [instance.instance_id for instance in batch]
        return Act(f"note the intent: retire {', '.join(names)}", lambda: self._intend(record, surge, names))

    def _wait(self, fleet: Fleet, live: int, waiting: int) -> Wait:
        deadline = self._deadline("retire")
        if self._ledger.now() >= deadline:
            raise CapacityError(
                f"fleet {fleet.name}: {waiting} old instances cannot be retired: only {fleet.ready_count} "
                f"instances are healthy and {live} must be; look at the new instances' health"
            )
        return Wait(
            f"{waiting} old instances wait: {fleet.ready_count} healthy, floor {live}, "
            f"{self._passed(deadline)}",
            self._ledger.read,
        )

    def _intend(self, record: FleetRecord, surge: Surge, names: list[str]) -> None:
        changed = surge.model_copy(
            update={
                "retiring": (*surge.retiring, *names),
                "minimum": surge.minimum - len(names),
                "previous": surge.minimum,
            }
        )
        retired = tuple(dict.fromkeys((*record.retired, *names)))
        self._change(surge, {"surge": changed, "retired": retired})

    def _keep(self, surge: Surge, strays: list[str]) -> None:
        kept = surge.model_copy(
            update={
                "retiring": tuple(one for one in surge.retiring if one not in strays),
                "minimum": surge.minimum + len(strays),
                "previous": surge.minimum,
            }
        )
        self._change(surge, {"surge": kept})

    def _set_minimum(self, fleet: Fleet, minimum: int) -> None:
        self._ledger.read()
        self._clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=minimum)

    def _terminate(self, victim: Instance) -> None:
        self._ledger.read()
        try:
            self._clients.autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=victim.instance_id, ShouldDecrementDesiredCapacity=True
            )
        except ClientError as error:
            if error_code(error) == "ValidationError" and "not found" in error_text(error):
                return  # gone between look and act: the next picture shows it
            raise


class Settle(_FleetStep):
    """Give back minimum, maximum, protection and processes, and see the whole fleet current."""

    def look(self) -> Decision:
        """Decide what is still to be given back, then whether the fleet is as it should be."""
        fleet, record = self._picture()
        if fleet.old:
            raise FleetError(
                f"fleet {fleet.name}: {len(fleet.old)} of {len(fleet.counted)} instances are not current "
                f"({', '.join(one.instance_id for one in fleet.old[:5])}); start a new run"
            )
        if record.before:
            return self._give_back(fleet, record, record.before)
        deadline = self._deadline("verify")
        if fleet.ready_current >= fleet.desired:
            return Done(
                f"all {fleet.ready_current} instances of {fleet.group} are current and healthy",
                {
                    "instances": [one.instance_id for one in fleet.current],
                    "retired": list(record.retired),
                    "template_version": fleet.template_version,
                },
            )
        if self._ledger.now() >= deadline:
            raise FleetError(
                f"fleet {fleet.name}: {fleet.progress(fleet.desired)} at the end of the rollout; "
                "look at the scaling activities of the group"
            )
        return Wait(f"{fleet.progress(fleet.desired)}, {self._passed(deadline)}", self._ledger.read)

    def _give_back(self, fleet: Fleet, record: FleetRecord, before: Before) -> Decision:
        minimum, maximum = sizes_after(fleet, before, record.surge)
        if (minimum, maximum) != (fleet.minimum, fleet.maximum) or (
            fleet.new_instances_protected != before.protected
        ):
            return Act(
                f"give back MinSize {fleet.minimum} -> {minimum}, MaxSize {fleet.maximum} -> {maximum}",
                lambda: self._restore(fleet, before, minimum, maximum),
            )
        if REBALANCE in fleet.suspended and REBALANCE not in before.suspended:
            return Act(f"resume {REBALANCE}", lambda: self._resume(fleet))
        ours = [one.instance_id for one in fleet.current if one.protected and not before.protected]
        if ours:
            return Act(
                f"end the scale-in protection of {len(ours)} instances",
                lambda: self._unprotect(fleet, ours),
            )
        left = surge_left(fleet, record)
        more = f"; {left} more than before, since old instances were replaced meanwhile" if left else ""
        return Act(f"note that everything is given back{more}", self._forget)

    def _restore(self, fleet: Fleet, before: Before, minimum: int, maximum: int) -> None:
        self._ledger.read()
        self._clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=fleet.group,
            MinSize=minimum,
            MaxSize=maximum,
            NewInstancesProtectedFromScaleIn=before.protected,
        )

    def _resume(self, fleet: Fleet) -> None:
        self._ledger.read()
        self._clients.autoscaling.resume_processes(
            AutoScalingGroupName=fleet.group, ScalingProcesses=[REBALANCE]
        )

    def _unprotect(self, fleet: Fleet, instance_ids: list[str]) -> None:
        self._ledger.read()
        for start in range(0, len(instance_ids), PROTECTION_CHUNK):
            self._clients.autoscaling.set_instance_protection(
                AutoScalingGroupName=fleet.group,
                InstanceIds=instance_ids[start : start + PROTECTION_CHUNK],
                ProtectedFromScaleIn=False,
            )

    def _forget(self) -> None:
        self._ledger.update_fleet(
            self._name, lambda record: record.model_copy(update={"surge": None, "before": None})
        )
