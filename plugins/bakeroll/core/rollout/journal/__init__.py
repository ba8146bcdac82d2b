"""What a run leaves in the bucket: its journal while it acts, its release, and the fleets there are.

The journal says who may act on an environment and what it was about to do; it is read and changed through
:class:`~bakeroll.core.rollout.journal.ledger.Ledger` alone. Releases say what ran where and since when, and
known fleets whose instances are drained between deployments.
"""

from bakeroll.core.rollout.journal.ledger import LEASE_SECONDS, Ledger
from bakeroll.core.rollout.journal.records import (
    Before,
    Exposure,
    FleetRecord,
    Journal,
    Release,
    Rollback,
    Surge,
    Watch,
    deadline_name,
)

__all__ = [
    "LEASE_SECONDS",
    "Before",
    "Exposure",
    "FleetRecord",
    "Journal",
    "Ledger",
    "Release",
    "Rollback",
    "Surge",
    "Watch",
    "deadline_name",
]
