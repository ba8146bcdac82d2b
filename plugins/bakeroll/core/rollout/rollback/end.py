"""The end of a rollback: what state the fleets are in, the record of it, and the journal given back."""

from __future__ import annotations

from bakeroll.core.aws import Clients
from bakeroll.core.errors import BakerollError, GroupMissingError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger, releases
from bakeroll.core.rollout.rollback.begin import reject
from bakeroll.core.rollout.rollback.target import points_at, target_of

FORWARD_AGAIN = (
    "Terraform's next apply moves the groups forward again: by hand to the newest released image, in a "
    "deployment to the image that it deploys"
)


def describe(clients: Clients, journal: Journal) -> list[str]:
    """Say exactly what state each fleet is in, a sentence each.

    :param journal: the journal of the rollback.
    """
    found = []
    for name, record in journal.fleets.items():
        try:
            found.append(_state(fleets.describe(clients, name, record.group), record))
        except BakerollError as error:
            found.append(str(error))
    return found


def _state(fleet: Fleet, record: FleetRecord) -> str:
    target = target_of(record)
    points = f"{fleet.group} launches version {fleet.template_version}"
    if target is None:
        points += ", nothing ran before"
    elif not points_at(fleet, target):
        points += f", version {target.version} ran before"
    parts = [
        f"fleet {fleet.name}: {fleet.ready_count} of {len(fleet.counted)} instances serve",
        f"{len(fleet.current)} are of the version that the group launches and {len(fleet.old)} are not",
        points,
        f"desired {fleet.desired}, MinSize {fleet.minimum}, MaxSize {fleet.maximum}",
    ]
    if before := record.before:
        parts.append(
            f"not given back yet: MinSize {before.minimum}, MaxSize {before.maximum}, scale-in protection, "
            f"suspended processes ({', '.join(sorted(fleet.suspended - set(before.suspended))) or 'none'})"
        )
    return "; ".join(parts)


def end(clients: Clients, ledger: Ledger, bucket: str) -> str:
    """Write the record of our rollback, give the journal back, and say in a sentence what came of it.

    Where a fleet had nothing to go back to and its capacity is raised, the journal stays open, for the next
    run to go on with: it knows what is to be given back in the end.

    :param ledger: the journal.
    :param bucket: the state bucket.
    """
    journal = ledger.peek()
    if journal is None or journal.rollback is None or journal.owner != ledger.owner:
        return "the rollback has ended already"  # by an earlier try of this task
    cause = journal.rollback.cause
    if journal.rollback.reject and not journal.rollback.rejected:
        reject(clients, ledger, journal.environment, journal)
        journal = ledger.read()
    said = [*_results(clients, journal), _image(journal), FORWARD_AGAIN]
    facts = {"outcome": "rolled back", "cause": cause, "fleets": describe(clients, journal)}
    releases.record(clients.s3, bucket, journal, facts, kind="rolled-back")
    raised = [name for name, record in journal.fleets.items() if record.before]
    if raised:
        ledger.update(lambda current: current.model_copy(update={"rollback": None, "apply_epoch": None}))
        said.append(
            f"capacity of {', '.join(raised)} is still raised, so the journal stays open: a new run goes on"
        )
    else:
        ledger.close()
    return f"{journal.environment}: {'; '.join(said)}; the cause: {cause}"


def _results(clients: Clients, journal: Journal) -> list[str]:
    found = []
    for name, record in journal.fleets.items():
        target = target_of(record)
        try:
            fleet = fleets.describe(clients, name, record.group)
        except GroupMissingError as error:
            found.append(str(error))
            continue
        if target is None:
            found.append(f"{name} had nothing to go back to, {fleet.ready_count} of {fleet.desired} serve")
        else:
            found.append(
                f"{name} is back at version {target.version}, {fleet.ready_current} of {fleet.desired} serve"
            )
    return found or ["no fleet was there yet, so nothing was rolled back"]


def _image(journal: Journal) -> str:
    if journal.rollback and journal.rollback.rejected:
        return (
            f"image {journal.image_id} is rejected here: it is not deployed again unless its content "
            "changes or a person sets deploy_rejected"
        )
    return "no image is rejected, as none was tried that did not run before"
