"""Raise the minimum, so that AWS launches new instances beside the old ones."""

from __future__ import annotations

from bakeroll.core.rollout.waves.raising import RaisingStep
from bakeroll.core.rollout.waves.step import NotShownError
from bakeroll.core.steps import Decision, Done, Wait


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
        if record.surge and (act := self._carry_out(fleet, record, record.surge)):
            return act
        return self._more(fleet, record) or Done(
            f"{fleet.group} has the capacity for this wave: desired {fleet.desired}"
        )

    def _just_applied(self) -> Wait | None:
        """Wait before believing that nothing is to be done; None if AWS had time to show what was applied."""
        left = self._since_apply(self._ledger.read())
        return Wait(str(NotShownError(left))) if left else None
