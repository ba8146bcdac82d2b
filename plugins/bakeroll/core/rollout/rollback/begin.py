"""The first step of a rollback: note it in the journal, and reject the image."""

from __future__ import annotations

from collections.abc import Callable

from bakeroll.core.aws import Clients
from bakeroll.core.layers import images
from bakeroll.core.rollout.journal import Journal, Ledger, Rollback
from bakeroll.core.rollout.rollback.target import describe_or_none, image_of, points_at, target_of
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
        if rollback.reject and not rollback.rejected:
            return Act(f"reject image {journal.image_id}", lambda: self._reject(journal))
        names = {name: target_of(record) for name, record in journal.fleets.items()}
        back = ", ".join(f"{name} to {target}" for name, target in names.items() if target)
        return Done(
            f"{self._environment} is rolled back ({back or 'no fleet has anything to go back to'}), "
            f"because: {rollback.cause}",
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
            if current.rollback:
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
            fleet, target = describe_or_none(self._clients, name, record), target_of(record)
            if target and image_of(self._clients, target) == journal.image_id:
                return False  # what ran before is this very image: something else was changed
            moved = moved or (fleet is not None and (target is None or not points_at(fleet, target)))
        return moved and journal.image_id is not None

    def _reject(self, journal: Journal) -> None:
        reject(self._clients, self._ledger, self._environment, journal)


def reject(clients: Clients, ledger: Ledger, environment: str, journal: Journal) -> None:
    """Tag the image of our journal as rejected, and note that."""
    ledger.read()
    image = images.get(clients.ec2, journal.image_id or "")
    if image is not None:  # one that is gone already cannot be deployed again
        images.mark(clients.ec2, image.id, environment, images.REJECTED)

    def noted(current: Journal) -> Journal:
        if current.rollback is None:
            return current
        done = current.rollback.model_copy(update={"rejected": True})
        return current.model_copy(update={"rollback": done})

    ledger.update(noted)
