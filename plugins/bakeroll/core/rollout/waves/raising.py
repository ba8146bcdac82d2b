"""Raise capacity: intent first, then the change, and what people set meanwhile taken as the group's own."""

from __future__ import annotations

from bakeroll.core.rollout.capacity import (
    REBALANCE,
    live_target,
    next_surge,
    owns_sizes,
    raised,
    set_by_others,
    shifted,
    with_theirs,
)
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import Before, FleetRecord, Surge
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Act, Wait


class RaisingStep(FleetStep):
    """A step that raises capacity where this wave needs it."""

    def _carry_out(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Do what is noted and not done yet; None if it is done."""
        if taken := self._take_theirs(fleet, record, surge):
            return taken
        if anew := shifted(fleet, surge):
            return self._unsettled(surge) or Act(
                f"note the intent anew: desired capacity is {fleet.desired} meanwhile",
                lambda: self._change(surge, {"surge": anew}),
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
            return Wait(f"AWS raises desired capacity {fleet.desired} -> {surge.minimum}, {passed}")
        applied = surge.model_copy(update={"applied": True})
        return Act("note that capacity is raised", lambda: self._change(surge, {"surge": applied}))

    def _take_theirs(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Take what somebody set meanwhile as the group's own; None if nobody has set anything."""
        if record.before is None:
            return None
        theirs = set_by_others(fleet, record.before, surge)
        if theirs == record.before and owns_sizes(fleet, surge):
            return None
        return self._unsettled(surge) or Act(
            f"take what somebody set meanwhile as the group's own: MinSize {theirs.minimum}, MaxSize "
            f"{theirs.maximum}",
            lambda: self._change(surge, {"before": theirs, "surge": with_theirs(fleet, record, surge)}),
        )

    def _more(self, fleet: Fleet, record: FleetRecord) -> Act | Wait | None:
        """Raise capacity by what this wave still needs; None if it has it."""
        wanted = next_surge(fleet, record, self._share(record))
        if wanted is None:
            return None
        return self._unsettled_before(record) or Act(
            f"note the intent: {wanted.amount} instances beyond {live_target(fleet, record)}",
            lambda: self._intend_surge(fleet, record, wanted),
        )

    def _unsettled_before(self, record: FleetRecord) -> Wait | None:
        """Wait before noting what stands before a raise; None if AWS had time to show it.

        What is left of the last surge has to be known: an instance that went a moment ago may show still. And
        what this rollout, or one before it, gave back may still show as raised: it would be for ever.
        """
        if record.surge:
            return self._unsettled(record.surge)
        return self._too_young(max(record.given_back_at, self._ledger.read().opened_at))

    def _intend_surge(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> None:
        before = record.before or Before(
            minimum=fleet.minimum,
            maximum=fleet.maximum,
            protected=fleet.new_instances_protected,
            suspended=tuple(sorted(fleet.suspended)),
            standing=tuple(one.instance_id for one in fleet.instances),
        )
        self._deadline("await_capacity")
        self._change(record.surge, {"before": before, "surge": surge})

    def _raise(self, fleet: Fleet, surge: Surge) -> None:
        self._stamp(raises=True)
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
