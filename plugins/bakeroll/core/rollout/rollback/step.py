"""What the steps of a rollback do otherwise than those of a wave: one wave of all, deadlines of their own."""

from __future__ import annotations

from collections.abc import Collection

from bakeroll.core.rollout.emptying import OnFailure
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Journal
from bakeroll.core.rollout.waves import FleetStep

ALL = "100%"


def deadline_name(step: str) -> str:
    """Return the name under which the journal keeps a deadline of a rollback."""
    return f"rollback.{step}"


def deadline_names(kind: str) -> list[str]:
    """Return the names of all deadlines that a step of a rollback keeps.

    :param kind: the step's name in :class:`bakeroll.core.deployment.Deployment`.
    """
    waits = {"restore": ("await_capacity", "retire"), "verify_restored": ("verify",)}
    return [deadline_name(step) for step in waits[kind]]


class BackStep(FleetStep):
    """A step of one fleet's rollback."""

    def _deadline(self, step: str) -> float:
        return self._ledger.deadline(self._name, deadline_name(step), self._timeout)

    def _check_target(self, fleet: Fleet, image_id: str | None) -> None:
        """Take whatever the group launches: it is pointed back."""

    def _share(self, record: FleetRecord) -> str:  # noqa: ARG002
        return ALL

    def _replaced(self, record: FleetRecord) -> Collection[str]:  # noqa: ARG002
        return ()  # what was to be replaced and is still there is good again


def drain_policy(journal: Journal, fleet: str, instance_ids: Collection[str], policy: OnFailure) -> OnFailure:
    """Return what becomes of instances that cannot be drained.

    One of the bad version holds no rollback up and is not kept. Those that the deployment retired before it
    failed are drained as ever.

    :param policy: the fleet's ``drain.on_failure``.
    """
    retired = journal.rollback.retired.get(fleet, 0) if journal.rollback else 0
    forward = journal.fleets[fleet].retired[:retired]
    return policy if set(forward) & set(instance_ids) else "continue"
