"""Raise the minimum, so that AWS launches new instances beside the old ones."""

from __future__ import annotations

from bakeroll.core.rollout.waves.raising import RaisingStep
from bakeroll.core.steps import Decision, Done


class ScaleOut(RaisingStep):
    """Raise the minimum so that AWS launches this wave's new instances beside the old ones."""

    def look(self) -> Decision:
        """Decide whether capacity is still to be raised."""
        fleet, record = self._picture()
        if not fleet.old:
            return Done(f"all {len(fleet.counted)} instances of {fleet.group} are current; nothing to raise")
        self._check_waves(record)
        if record.surge and (act := self._carry_out(fleet, record, record.surge)):
            return act
        return self._more(fleet, record) or Done(
            f"{fleet.group} has the capacity for this wave: desired {fleet.desired}"
        )
