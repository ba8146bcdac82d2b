"""Looks, before anything moves, whether a rollout can come to its end: fleets, gates, quotas.

Nothing is changed here.
"""

from bakeroll.core.rollout.preflight.environment_check import insist, look
from bakeroll.core.rollout.preflight.headroom import Findings

__all__ = ["Findings", "insist", "look"]
