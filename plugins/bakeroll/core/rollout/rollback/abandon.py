"""What a new run does with a rollback that an earlier one did not finish."""

from __future__ import annotations

from bakeroll.core.aws import Clients
from bakeroll.core.errors import RollbackError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.journal import FleetRecord, Ledger
from bakeroll.core.rollout.rollback.begin import reject
from bakeroll.core.rollout.rollback.withdraw import LAUNCH


def insist_on_none(ledger: Ledger, environment: str) -> None:
    """Make sure that our journal is of no rollback.

    :raises RollbackError: if it is: then this run goes on with it, and with nothing else.
    """
    rollback = ledger.read().rollback
    if rollback:
        raise RollbackError(
            f"{environment}: an earlier run did not finish its rollback: this one finishes it and deploys "
            "nothing, then start a new run (abandon_rollback deploys in its place); it is rolled back "
            f"because: {rollback.cause}"
        )


def abandon(clients: Clients, ledger: Ledger, environment: str) -> list[str]:
    """Leave an unfinished rollback for good, so that a mended version can be deployed in its place.

    Its image is rejected all the same. What it was in the middle of is brought to a state that a rollout can
    go on from: the journal keeps what ran before and what is to be given back in the end.

    :return: what was done, in lines; none if there is no rollback.
    """
    journal = ledger.read()
    if journal.rollback is None:
        return []
    said = [f"{environment}: the rollback is given up, because a person asked for it"]
    if journal.rollback.reject and not journal.rollback.rejected:
        reject(clients, ledger, environment, journal)
        said.append(f"image {journal.image_id} is rejected")
    records = {}
    for name, record in journal.fleets.items():
        records[name] = _settled(clients, name, record)
        if record.launch_held:
            clients.autoscaling.resume_processes(AutoScalingGroupName=record.group, ScalingProcesses=[LAUNCH])
            said.append(f"{LAUNCH} of {record.group} is resumed")
    ledger.update(
        lambda current: current.model_copy(update={"rollback": None, "apply_epoch": None, "fleets": records})
    )
    return said


def _settled(clients: Clients, name: str, record: FleetRecord) -> FleetRecord:
    """Return the record without what only a rollback understands."""
    surge = record.surge
    if surge is None:
        return record.model_copy(update={"launch_held": False})
    done = 0
    if surge.withdrawing:
        picture = fleets.describe(clients, name, record.group)
        done = surge.withdrawing if picture.minimum == surge.minimum else 0
    settled = surge.model_copy(
        update={
            "surplus": (),
            "withdrawn": surge.withdrawn + done,
            "withdrawing": 0,
            "minimum": surge.minimum if done or not surge.withdrawing else surge.previous,
        }
    )
    return record.model_copy(update={"surge": settled, "launch_held": False})
