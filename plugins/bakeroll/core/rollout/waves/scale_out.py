"""Raise the minimum, so that AWS launches new instances beside the old ones."""

from __future__ import annotations

from bakeroll.core.rollout.capacity import carried_out, next_surge, without_raise
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Surge
from bakeroll.core.rollout.waves.raising import RaisingStep
from bakeroll.core.rollout.waves.step import NotShownError
from bakeroll.core.steps import Act, Decision, Done, Wait


class ScaleOut(RaisingStep):
    """Raise the minimum so that AWS launches this wave's new instances beside the old ones."""

    def _look(self) -> Decision:
        """Decide whether capacity is still to be raised."""
        fleet, record = self._picture()
        if not fleet.old:
            return self._just_applied() or Done(
                f"all {len(fleet.counted)} instances of {fleet.group} are current; nothing to raise"
            )
        self._check_waves(record)
        if surge := record.surge:
            act = self._less_needed(fleet, record, surge) or self._carry_out(fleet, record, surge)
            if act:
                return act
        return self._more(fleet, record) or Done(
            f"{fleet.group} has the capacity for this wave: desired {fleet.desired}"
        )

    def _less_needed(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Drop an intent, not carried out yet, of more than this wave needs by now; None if it is not such.

        A rollback that a person gave up may leave one, for instances of the version before.
        """
        if surge.applied or fleet.minimum != surge.previous or carried_out(fleet, surge):
            return None
        kept = without_raise(fleet, surge)
        wanted = next_surge(fleet, record.model_copy(update={"surge": kept}), self._share(record))
        if (wanted or kept).amount >= surge.amount:
            return None
        return self._unsettled(surge) or Act(
            f"drop the intent to raise capacity to {surge.minimum}: this wave needs less by now",
            lambda: self._change(surge, {"surge": kept}),
        )

    def _just_applied(self) -> Wait | None:
        """Wait before believing that nothing is to be done; None if AWS had time to show what was applied."""
        left = self._since_apply(self._ledger.read())
        return Wait(str(NotShownError(left))) if left else None
