"""The end of a rollout that went well: its image is released, and its release recorded.

It is noted in the journal first. A run that is cut off after that leaves a deployment that is through:
whoever goes on finishes its record and begins anew, and would go back to that version, not to the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.errors import JournalError
from bakeroll.core.layers import images
from bakeroll.core.rollout.journal import Journal, Ledger, Release, releases


def release(clients: Clients, ledger: Ledger, bucket: str, facts: Mapping[str, Any]) -> str:
    """Release what all fleets run now.

    :param ledger: our journal.
    :param bucket: the state bucket.
    :param facts: what is worth keeping of it, as JSON can hold it.
    :return: key of the release's record.
    :raises JournalError: if the journal names no image.
    """
    journal = ledger.read()
    if journal.image_id is None:
        raise JournalError(
            f"{journal.environment}: the journal names no image, so `apply` has not run: nothing is "
            "released; start a new run"
        )
    noted = Release(run=ledger.owner, facts=dict(facts))
    journal = ledger.update(
        lambda current: current if current.release else current.model_copy(update={"release": noted})
    )
    return _finish(clients, bucket, journal, journal.release or noted)


def finish_earlier(clients: Clients, ledger: Ledger, bucket: str) -> str | None:
    """Finish a release that an earlier run, or an earlier try of this one, has noted.

    :param ledger: our journal; it is as a new one afterwards.
    :return: key of the release's record; None if there is no such release.
    """
    journal = ledger.read()
    if journal.release is None:
        return None
    key = _finish(clients, bucket, journal, journal.release)
    begun: dict[str, object] = {
        "image_id": None,
        "apply_epoch": None,
        "applied_at": None,
        "release": None,
        "fleets": {},
    }
    ledger.update(lambda current: current.model_copy(update=begun))
    return key


def _finish(clients: Clients, bucket: str, journal: Journal, noted: Release) -> str:
    if journal.image_id and images.get(clients.ec2, journal.image_id):
        images.mark(clients.ec2, journal.image_id, journal.environment, images.RELEASED)
    return releases.record(clients.s3, bucket, journal, noted.facts, run=noted.run)
