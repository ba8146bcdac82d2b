"""The first step of a rollback: note it in the journal, and reject the image."""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients
from bakeroll.core.errors import FleetError, GroupMissingError
from bakeroll.core.layers import images
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger, Rollback
from bakeroll.core.rollout.rollback.target import Target, image_of, points_at, target_of
from bakeroll.core.steps import Act, Decision, Done


class BeginRollback:
    """Decide whether there is anything to roll back; if so, note it and reject the image.

    From the note on, no step of the deployment goes forward any more, in whichever task it runs.

    :param ledger: the journal.
    :param cause: why, in one sentence; asked for once.
    """

    def __init__(
        self, clients: Clients, ledger: Ledger, environment: str, *, cause: Callable[[], str]
    ) -> None:
        self._clients = clients
        self._ledger = ledger
        self._environment = environment
        self._cause = cause

    def look(self) -> Decision:
        """Decide; the result is None if there is nothing to roll back."""
        journal = self._ledger.peek()
        if journal is None:
            return Done(f"{self._environment} has no open journal: there is nothing to roll back")
        rollback = journal.rollback
        if nothing := self._nothing_to_roll_back(journal):
            return Done(nothing)
        if rollback is None:
            return Act("note the intent: roll back", lambda: self._intend(journal))
        if rollback.reject and not (rollback.rejected or rollback.reject_failed):
            return Act(f"reject image {journal.image_id}", lambda: self._reject(journal))
        names = {name: target_of(record) for name, record in journal.fleets.items()}
        back = ", ".join(f"{name} to {target}" for name, target in names.items() if target)
        failed = rollback.reject_failed
        later = f"; the image is to be rejected in the end, as that failed: {failed}" if failed else ""
        return Done(
            f"{self._environment} is rolled back ({back or 'no fleet has anything to go back to'}), "
            f"because: {rollback.cause}{later}",
            {"cause": rollback.cause, "fleets": [name for name, target in names.items() if target]},
        )

    def _nothing_to_roll_back(self, journal: Journal) -> str | None:
        if journal.owner != self._ledger.owner:
            return f"{journal.owner} holds the journal of {self._environment}: it is not rolled back here"
        if journal.release:
            return (
                f"all fleets of {self._environment} run image {journal.image_id} and are verified: nothing "
                "is rolled back; a new run finishes its record"
            )
        if journal.rollback is None and journal.apply_epoch != journal.epoch:
            return f"{self._environment}: nothing was applied by this run, nothing is rolled back"
        return None

    def _intend(self, journal: Journal) -> None:
        cause, to_reject = self._cause(), self._to_be_rejected(journal)

        def begun(current: Journal) -> Journal:
            if current.rollback or current.release:
                return current
            # Another fleet may have gone on until now: what it retired forward is drained as ever.
            retired = {name: len(record.retired) for name, record in current.fleets.items()}
            rollback = Rollback(cause=cause, began_at=self._ledger.now(), reject=to_reject, retired=retired)
            return current.model_copy(update={"rollback": rollback})

        self._ledger.update(begun)

    def _to_be_rejected(self, journal: Journal) -> bool:
        """Tell whether the image was tried: some group was moved to it, and did not run it before."""
        moved = False
        for name, record in journal.fleets.items():
            target = target_of(record)
            if target and image_of(self._clients, target) == journal.image_id:
                return False  # what ran before is this very image: something else was changed
            moved = moved or self._moved(name, record, target)
        return moved and journal.image_id is not None

    def _moved(self, name: str, record: FleetRecord, target: Target | None) -> bool:
        try:
            fleet = fleets.describe(self._clients, name, record.group)
        except GroupMissingError:
            return False
        except FleetError:
            return True  # `begin` could read it: so it is this deployment that made it what it is
        return target is None or not points_at(fleet, target)

    def _reject(self, journal: Journal) -> None:
        """Reject the image; one that cannot be tagged now holds nothing up, and is tagged in the end."""
        self._ledger.read()
        try:
            tag_rejected(self._clients, self._environment, journal)
        except ClientError as error:
            note(self._ledger, {"reject_failed": str(error)})
        else:
            note(self._ledger, {"rejected": True})


def reject(clients: Clients, ledger: Ledger, environment: str, journal: Journal) -> None:
    """Tag the image of our journal as rejected, and note that."""
    ledger.read()
    tag_rejected(clients, environment, journal)
    note(ledger, {"rejected": True})


def tag_rejected(clients: Clients, environment: str, journal: Journal) -> None:
    """Tag the journal's image; one that is gone already cannot be deployed again."""
    image = images.get(clients.ec2, journal.image_id or "")
    if image is not None:
        images.mark(clients.ec2, image.id, environment, images.REJECTED)


def note(ledger: Ledger, update: dict[str, object]) -> None:
    """Write down what became of the rollback in our journal."""

    def noted(current: Journal) -> Journal:
        if current.rollback is None:
            return current
        return current.model_copy(update={"rollback": current.rollback.model_copy(update=update)})

    ledger.update(noted)
