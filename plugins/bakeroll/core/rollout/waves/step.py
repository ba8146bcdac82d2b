"""What the steps of a wave have in common: a picture of one fleet, and its record in our journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import timedelta

from bakeroll.core.aws import Clients
from bakeroll.core.errors import FleetError, MovedError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Ledger, Surge, deadline_name
from bakeroll.core.steps import Decision


class FleetStep(ABC):
    """What the steps have in common: a fresh picture of one fleet, and its record in our journal.

    :param wave: the wave, counted from 1.
    :param timeout: how long the step may wait.
    :param waves: the waves as the environment file has them now, for steps that refuse others than those
        the rollout has begun with; None if there is no file to ask.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: Ledger,
        fleet: str,
        *,
        wave: int = 1,
        timeout: timedelta,
        waves: Sequence[str] | None = None,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._name = fleet
        self._wave = wave
        self._timeout = timeout.total_seconds()
        self._waves = waves

    @abstractmethod
    def look(self) -> Decision:
        """Take a fresh picture and decide."""

    def _picture(self) -> tuple[Fleet, FleetRecord]:
        journal = self._ledger.read()
        records = journal.fleets
        if self._name not in records:
            raise FleetError(
                f"fleet {self._name} is not in the journal: Terraform's output `fleets` has only "
                f"{', '.join(sorted(records)) or 'nothing'}; name the same fleets in both"
            )
        record = records[self._name]
        fleet = fleets.describe(self._clients, self._name, record.group, self._replaced(record))
        self._check_target(fleet, journal.image_id)
        return fleet, record

    def _check_target(self, fleet: Fleet, image_id: str | None) -> None:
        """Make sure that the group launches what is rolled out: else the old would be taken for the new.

        :param image_id: the image that was applied; None if none was.
        :raises MovedError: if it launches something else.
        """
        if image_id and fleet.image_id != image_id:
            raise MovedError(
                f"fleet {fleet.name}: {fleet.group} launches image {fleet.image_id or 'unknown'}, and image "
                f"{image_id} is rolled out: somebody changed that meanwhile, perhaps by a Terraform run by "
                "hand; find out why, then start a new run"
            )

    def _replaced(self, record: FleetRecord) -> Collection[str]:
        """Return the instances that are old whatever they were launched from."""
        return record.replaces or ()

    def _deadline(self, step: str) -> float:
        return self._ledger.deadline(self._name, deadline_name(self._wave, step), self._timeout)

    def _change(self, expected: Surge | None, update: dict[str, object]) -> None:
        """Change the fleet's record, unless another attempt of this run was quicker: then look again."""
        self._ledger.update_fleet(
            self._name,
            lambda record: record.model_copy(update=update) if record.surge == expected else record,
        )

    def _passed(self, deadline: float) -> str:
        """Say how long the step has been going on, and how long it may."""
        passed = self._timeout - (deadline - self._ledger.now())
        return f"{max(0, round(passed))} s of {self._timeout:.0f} s"

    def _share(self, record: FleetRecord) -> str:
        return record.waves[self._wave - 1]

    def _check_waves(self, record: FleetRecord) -> None:
        if self._waves is not None:
            record.check_waves(self._name, self._waves)
