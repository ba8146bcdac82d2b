"""What the steps of a wave have in common: a picture of one fleet, and its record in our journal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import timedelta

from bakeroll.core.aws import Clients
from bakeroll.core.errors import FleetError, MovedError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.held import Held
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger, Surge, deadline_name
from bakeroll.core.steps import Decision, Wait

SETTLE_SECONDS = 15.0
"""How long a describe may still show what was there before a change: AWS's describes are eventually
consistent (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html), and give no bound."""


class NotShownError(Exception):
    """AWS may still show a group as it was before the apply.

    :param seconds: for how long.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s, as AWS may still show the group as it was before the apply")


class FleetStep(ABC):
    """What the steps have in common: a fresh picture of one fleet, and its record in our journal.

    :param wave: the wave, counted from 1.
    :param timeout: how long the step may wait.
    :param waves: the waves as the environment file has them now, for steps that refuse others than those
        the rollout has begun with; None if there is no file to ask.
    :param held: who keeps alive what waits to be drained, where this is a part of another step.
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
        held: Held | None = None,
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._name = fleet
        self._wave = wave
        self._timeout = timeout.total_seconds()
        self._waves = waves
        self._held = held or Held(clients, ledger)

    def look(self) -> Decision:
        """Take a fresh picture and decide; a group that does not show yet what was applied is waited for."""
        try:
            decision = self._look()
        except NotShownError as error:
            decision = Wait(str(error))
        return self._held.kept_through(decision)

    @abstractmethod
    def _look(self) -> Decision:
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
        self._held.see(fleet, record)
        self._check_target(fleet, record, journal)
        return fleet, record

    def _check_target(self, fleet: Fleet, record: FleetRecord, journal: Journal) -> None:  # noqa: ARG002
        """Make sure that the group launches what is rolled out: else the old would be taken for the new.

        :raises NotShownError: if it does not, but was changed a moment ago.
        :raises MovedError: if it launches something else.
        """
        image_id = journal.image_id
        if not image_id or fleet.image_id == image_id:
            return
        if left := self._since_apply(journal):
            raise NotShownError(left)
        raise MovedError(
            f"fleet {fleet.name}: {fleet.group} launches image {fleet.image_id or 'unknown'}, and image "
            f"{image_id} is rolled out: somebody changed that meanwhile, perhaps by a Terraform run by "
            "hand; find out why, then start a new run"
        )

    def _since_apply(self, journal: Journal) -> float:
        """Return for how long AWS may still show groups as they were before the apply, in seconds."""
        return max(0.0, (journal.applied_at or 0.0) + SETTLE_SECONDS - self._ledger.now())

    def _replaced(self, record: FleetRecord) -> Collection[str]:
        """Return the instances that are old whatever they were launched from."""
        return record.replaces or ()

    def _deadline(self, step: str) -> float:
        return self._ledger.deadline(self._name, self._deadline_name(step), self._timeout)

    def _deadline_name(self, step: str) -> str:
        return deadline_name(self._wave, step)

    def _change(self, expected: Surge | None, update: dict[str, object], *, renews: str = "") -> None:
        """Change the fleet's record, unless another attempt of this run was quicker: then look again.

        :param renews: a step whose time begins anew at its next wait, as it got on.
        """
        surge = update.get("surge")
        if isinstance(surge, Surge):
            update = {**update, "surge": surge.model_copy(update={"at": self._ledger.now()})}
        renewed = self._deadline_name(renews)

        def changed(record: FleetRecord) -> FleetRecord:
            if record.surge != expected:
                return record
            left = {name: when for name, when in record.deadlines.items() if name != renewed}
            return record.model_copy(update={**update, "deadlines": left})

        self._ledger.update_fleet(self._name, changed)

    def _stamp(self, *, raises: bool = False) -> None:
        """Note that sizes are changed now; with that the journal is seen to be ours still."""
        now = self._ledger.now()
        stamp = {"at": now, "attempted_at": now} if raises else {"at": now}

        def stamped(record: FleetRecord) -> FleetRecord:
            surge = record.surge and record.surge.model_copy(update=stamp)
            return record.model_copy(update={"surge": surge})

        self._ledger.update_fleet(self._name, stamped)

    def _unsettled(self, surge: Surge) -> Wait | None:
        """Wait before believing that sizes were changed by somebody else; None if that was long enough."""
        return self._too_young(surge.at)

    def _too_young(self, changed_at: float) -> Wait | None:
        """Wait before believing a picture that may be from before a change; None if that was long enough."""
        left = changed_at + SETTLE_SECONDS - self._ledger.now()
        if left <= 0:
            return None
        return Wait(f"{left:.0f} s, as AWS may still show the group as it was before our last change")

    def _passed(self, deadline: float) -> str:
        """Say how long the step has been going on, and how long it may."""
        passed = self._timeout - (deadline - self._ledger.now())
        return f"{max(0, round(passed))} s of {self._timeout:.0f} s"

    def _share(self, record: FleetRecord) -> str:
        return record.waves[self._wave - 1]

    def _check_waves(self, record: FleetRecord) -> None:
        if self._waves is not None:
            record.check_waves(self._name, self._waves)
