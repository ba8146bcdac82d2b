"""Raise the minimum, so that AWS launches new instances beside the old ones."""

from __future__ import annotations

from bakeroll.core.rollout.capacity import REBALANCE, live_target, next_surge, raised
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import Before, FleetRecord, Surge
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Act, Decision, Done, Wait


class ScaleOut(FleetStep):
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
