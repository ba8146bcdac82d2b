"""Wait between two waves until a person says how to go on."""

from __future__ import annotations

from datetime import timedelta

from bakeroll.core.errors import AbortedError
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Decision, Wait

ANSWER_TIMEOUT = timedelta(hours=24)
"""How long a rollout stands between two versions until somebody answers; then it is aborted."""


class Proceed(FleetStep):
    """Keep the journal while a person thinks; only that person's answer ends it well.

    It changes nothing and asks AWS nothing but the journal: that is still ours, and nothing is being rolled
    back because another fleet failed meanwhile.
    """

    def _look(self) -> Decision:
        """Wait, until there is nothing to wait for any more."""
        self._ledger.read()
        left = self._deadline("proceed") - self._ledger.now()
        if left <= 0:
            raise AbortedError(
                f"fleet {self._name}: nobody answered within {self._timeout / 3600:.0f} h after wave "
                f"{self._wave}, so the rollout is aborted; start a new run"
            )
        return Wait(f"a person is asked whether wave {self._wave + 1} may begin")

    def through(self) -> str:
        """Say what the wave came to, for the person who is asked."""
        record = self._ledger.read().fleets[self._name]
        exposure = record.exposure.get(str(self._wave))
        share = f": {exposure.current} of {exposure.counted} instances are new" if exposure else ""
        return f"Wave {self._wave} of {len(record.waves)} of fleet {self._name} is through{share}."
