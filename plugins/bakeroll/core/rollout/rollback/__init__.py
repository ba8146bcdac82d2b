"""Back to what ran before, without Terraform.

The group is pointed at the launch template version from the journal, so that what it replaces is good at once
and the old instances are current again. From there on it is a rollout like any other, in one wave, with the
same steps: capacity is restored, and what is not current is removed. What a rollout never does and a rollback
must: capacity that was raised for the new version and is not needed to go back is given back.
"""

from bakeroll.core.rollout.rollback.abandon import abandon, insist_on_none
from bakeroll.core.rollout.rollback.begin import BeginRollback
from bakeroll.core.rollout.rollback.end import describe, end
from bakeroll.core.rollout.rollback.restore import Restore, SettleBack
from bakeroll.core.rollout.rollback.step import deadline_names, drain_policy

__all__ = [
    "BeginRollback",
    "Restore",
    "SettleBack",
    "abandon",
    "deadline_names",
    "describe",
    "drain_policy",
    "end",
    "insist_on_none",
]
