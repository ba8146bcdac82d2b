"""Take back capacity that was raised for the new version, and that nothing was launched for yet.

That is where launches fail: the group is to have instances that it cannot get, and a rollback can do without.
Left alone it would get them one day. Desired capacity is lowered only while the group's Launch process is
suspended and no launch is on its way: so AWS has nobody to terminate for it.
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html)
"""

from __future__ import annotations

from bakeroll.core.rollout import health
from bakeroll.core.rollout.capacity import set_by_others, surge_left, with_theirs
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Surge
from bakeroll.core.rollout.rollback.step import BackStep
from bakeroll.core.steps import Act, Decision, Done, Wait

LAUNCH = "Launch"


def spare(fleet: Fleet, record: FleetRecord) -> int:
    """Return how much of the raised capacity stands in for no instance that has to go."""
    return max(0, surge_left(fleet, record) - len(fleet.old))


def minimum_without(fleet: Fleet, surge: Surge, amount: int) -> int | None:
    """Return a minimum for a fleet without some capacity; None if there is none to be told by.

    It goes in one call with desired capacity, which it may not exceed, and tells that the call was made: so
    it is another one than stands. Where somebody has lowered the minimum, it is lowered from that.
    """
    if not surge.owns(fleet.minimum):
        return None
    lower, highest = min(surge.minimum, fleet.minimum) - amount, fleet.desired - amount
    return next((one for one in (lower, highest) if 0 <= one <= highest and one != fleet.minimum), None)


class Withdraw(BackStep):
    """Withdraw spare capacity without an instance."""

    def _look(self) -> Decision:
        """Decide what is to be done for it; done if there is no such capacity, or no more."""
        fleet, record = self._picture()
        surge = record.surge
        amount = min(spare(fleet, record), fleet.launching)
        if surge and surge.withdrawing:
            return self._carry_out(fleet, record, surge)
        minimum = minimum_without(fleet, surge, amount) if surge and amount else None
        if surge and minimum is not None and not self._elsewhere_held(fleet, record):
            return self._withdraw(fleet, record, surge, amount, minimum)
        if record.launch_held:
            return Act(f"resume {LAUNCH}", lambda: self._resume(fleet))
        return Done("no capacity is to be withdrawn")

    @staticmethod
    def _elsewhere_held(fleet: Fleet, record: FleetRecord) -> bool:
        return LAUNCH in fleet.suspended and not record.launch_held

    def _withdraw(
        self, fleet: Fleet, record: FleetRecord, surge: Surge, amount: int, minimum: int
    ) -> Decision:
        if not record.launch_held:
            return Act(
                f"note the intent: suspend {LAUNCH}, to withdraw {amount} instances not launched yet",
                lambda: self._hold(held=True),
            )
        if LAUNCH not in fleet.suspended:
            return Act(f"suspend {LAUNCH}", lambda: self._suspend(fleet))
        if health.launches_under_way(self._clients.autoscaling, fleet.group):
            return Wait("a launch that had begun is waited for")
        intended = surge.model_copy(
            update={
                "withdrawing": amount,
                "minimum": minimum,
                "previous": fleet.minimum,
                "applied": True,
            }
        )
        return Act(
            f"note the intent: withdraw {amount} instances that are not launched yet",
            lambda: self._change(surge, {"surge": intended}),
        )

    def _carry_out(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act:
        if fleet.minimum == surge.minimum:
            done = surge.model_copy(
                update={"withdrawing": 0, "withdrawn": surge.withdrawn + surge.withdrawing}
            )
            return Act("note that it is withdrawn", lambda: self._change(surge, {"surge": done}))
        desired = fleet.desired - surge.withdrawing
        possible = fleet.launching >= surge.withdrawing and desired >= surge.minimum
        if fleet.minimum == surge.previous and possible:
            return Act(
                f"withdraw {surge.withdrawing} instances: MinSize {fleet.minimum} -> {surge.minimum}, "
                f"desired {fleet.desired} -> {desired}",
                lambda: self._lower(fleet, surge.minimum, desired),
            )
        return Act("drop that intent", lambda: self._drop(fleet, record, surge))

    def _drop(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> None:
        """Decide anew, as somebody has changed the sizes since.

        Whether it was done is not seen any more. Theirs count from here on: a minimum that took all of our
        capacity did so either way, and may be lowered again before the next look.
        """
        dropped = surge.model_copy(update={"withdrawing": 0, "minimum": surge.previous})
        update: dict[str, object] = {"surge": dropped}
        if record.before and not dropped.owns(fleet.minimum):
            known = record.model_copy(update=update)
            update = {
                "surge": with_theirs(fleet, known, dropped),
                "before": set_by_others(fleet, record.before, dropped),
            }
        self._change(surge, update)

    def _hold(self, *, held: bool) -> None:
        self._ledger.update_fleet(self._name, lambda record: record.model_copy(update={"launch_held": held}))

    def _suspend(self, fleet: Fleet) -> None:
        self._ledger.read()
        self._clients.autoscaling.suspend_processes(
            AutoScalingGroupName=fleet.group, ScalingProcesses=[LAUNCH]
        )

    def _resume(self, fleet: Fleet) -> None:
        """Resume it, and note that: a picture that shows it resumed may be from before it was suspended."""
        self._ledger.read()
        self._clients.autoscaling.resume_processes(
            AutoScalingGroupName=fleet.group, ScalingProcesses=[LAUNCH]
        )
        self._hold(held=False)

    def _lower(self, fleet: Fleet, minimum: int, desired: int) -> None:
        self._ledger.read()
        self._clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=fleet.group, MinSize=minimum, DesiredCapacity=desired
        )
