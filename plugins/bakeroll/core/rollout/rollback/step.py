"""What the steps of a rollback do otherwise than those of a wave: one wave of all, deadlines of their own."""

from __future__ import annotations

from collections.abc import Collection

from bakeroll.core.errors import FleetError, GroupMissingError
from bakeroll.core.rollout.drains import OnFailure
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Journal
from bakeroll.core.rollout.rollback.target import Target, named_by, points_at, target_of
from bakeroll.core.rollout.waves import FleetStep

ALL = "100%"


class PointedElsewhereError(Exception):
    """A group does not launch what ran before; that is mended, or AWS shows the group as it was.

    :param group: name of the group.
    :param launches: what it launches, or would.
    :ivar target: what it has to launch.
    """

    def __init__(self, group: str, launches: Target | None, target: Target) -> None:
        super().__init__(f"{group} launches {launches or 'from no launch template'}, not {target}")
        self.group = group
        self.target = target


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

    def _deadline_name(self, step: str) -> str:
        return deadline_name(step)

    def _picture(self) -> tuple[Fleet, FleetRecord]:
        """Take a picture; a group that cannot be read is to be pointed back if it launches something else."""
        try:
            return super()._picture()
        except GroupMissingError:
            raise
        except FleetError as error:
            record = self._ledger.read().fleets.get(self._name)
            target = target_of(record) if record else None
            if record is None or target is None:
                raise
            launches = named_by(self._clients, self._name, record.group)
            if launches == target:
                raise
            raise PointedElsewhereError(record.group, launches, target) from error

    def _check_target(self, fleet: Fleet, record: FleetRecord, journal: Journal) -> None:  # noqa: ARG002
        """Make sure that the group launches what ran before: what is current else is what has to go.

        :raises PointedElsewhereError: if it does not.
        """
        target = target_of(record)
        if target and not points_at(fleet, target):
            launches = Target(fleet.template_id, fleet.template_version)
            raise PointedElsewhereError(fleet.group, launches, target)

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
