"""Emptying instances before they go: those that a rollout retired, and those that nobody did.

Both ask held instances for their receipts and let them go in the same way
(:mod:`bakeroll.core.rollout.drains.emptying`); they differ in what is known of an instance and who is told.
"""

from bakeroll.core.rollout.drains.drain import Drain
from bakeroll.core.rollout.drains.drain_waiting import DrainWaiting
from bakeroll.core.rollout.drains.emptying import OnFailure
from bakeroll.core.rollout.drains.undrained import Undrained, outcome_of

__all__ = ["Drain", "DrainWaiting", "OnFailure", "Undrained", "outcome_of"]
