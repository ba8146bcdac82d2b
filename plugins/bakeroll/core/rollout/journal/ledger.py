"""The journal of a rollout: who may act on an environment, and what it was about to do.

One S3 object per environment, made with If-None-Match and changed with If-Match
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). It is written before
each change to AWS and deleted when the rollout is over, so what is found there was not finished.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import ValidationError

from bakeroll.core.aws import CONFLICTS, MISSING, error_code
from bakeroll.core.errors import (
    JournalError,
    LockedError,
    OwnershipLostError,
    RollbackError,
    RolledBackError,
)
from bakeroll.core.rollout.journal.records import FleetRecord, Journal, deadline_name

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LEASE_SECONDS = 60.0
"""How long an owner that says nothing is believed to be still acting. Whoever acts or waits renews the
lease, tasks that run a tool for many minutes too."""


class Ledger:
    """Reads and changes the journal of one environment on behalf of one run.

    :param s3: a boto3 client.
    :param bucket: the state bucket.
    :param environment: the environment's name.
    :param owner: the run that acts, ``<dag id>/<run id>``.
    :param now: the clock, in seconds since the epoch.
    :param back: whether what it is for goes back, or forward; None for neither. Forward nothing goes once a
        rollback has begun.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        environment: str,
        owner: str,
        *,
        now: Callable[[], float],
        back: bool | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._key = f"journal/{environment}.json"
        self._environment = environment
        self.owner = owner
        self.now = now
        self._back = back

    def going(self, *, back: bool) -> Ledger:
        """Return the same journal for steps that go back, or forward: each is refused in the other's time."""
        return Ledger(self._s3, self._bucket, self._environment, self.owner, now=self.now, back=back)

    @property
    def key(self) -> str:
        """The journal's object in the bucket."""
        return self._key

    @property
    def bucket(self) -> str:
        """The state bucket."""
        return self._bucket

    def peek(self) -> Journal | None:
        """Return the journal as it is, whoever owns it; None if no rollout is open."""
        found = self._read()
        return found[0] if found else None

    def read(self) -> Journal:
        """Return our journal, its lease renewed if half of it has passed.

        :raises OwnershipLostError: if it is no longer ours.
        """
        journal, _ = self._read_own()
        if journal.lease_until - self.now() < LEASE_SECONDS / 2:
            return self.update(lambda current: current)
        return journal

    def open(self) -> Journal:
        """Open a journal, or find the one that this same run opened already.

        :raises LockedError: if another run has one open.
        """
        fresh = Journal(
            environment=self._environment,
            owner=self.owner,
            epoch=1,
            lease_until=self.now() + LEASE_SECONDS,
            opened_at=self.now(),
        )
        while True:
            try:
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=self._key,
                    Body=_body(fresh),
                    IfNoneMatch="*",
                    ContentType="application/json",
                )
            except ClientError as error:
                if error_code(error) not in CONFLICTS:
                    raise
                if self._read() is None:
                    continue  # it was deleted at this very moment
                return self._opened_already()
            return fresh

    def take_over(self, epoch: int) -> Journal:
        """Make a dead owner's journal ours.

        The caller has made sure that the owner is dead; here it is made sure that its lease has lapsed.

        :param epoch: the epoch in which the owner was seen to be dead.
        :raises LockedError: if the lease still runs, or somebody else was quicker.
        """
        found = self._read()
        if found is None:
            return self.open()
        journal, tag = found
        if journal.owner == self.owner:
            return journal
        if journal.epoch != epoch or journal.lease_until > self.now():
            raise LockedError(
                f"{self._environment}: {journal.owner} acts on the journal; end that run and try again"
            )
        taken = journal.model_copy(
            update={
                "owner": self.owner,
                "epoch": journal.epoch + 1,
                "lease_until": self.now() + LEASE_SECONDS,
                "waits_until": None,
                # A new run is a new try, perhaps of another version: it goes through all waves again, and
                # the dead one's deadlines have passed or mean nothing to it.
                "fleets": {
                    name: record.model_copy(update={"deadlines": {}, "exposure": {}, "gate": None})
                    for name, record in journal.fleets.items()
                },
            }
        )
        try:
            self._write(taken, tag)
        except ClientError as error:
            if error_code(error) not in CONFLICTS:
                raise
            return self._opened_already()
        return taken

    def update(self, change: Callable[[Journal], Journal]) -> Journal:
        """Change our journal, whoever of our own tasks writes at the same time.

        :param change: returns the changed journal; may be called more than once.
        :raises OwnershipLostError: if it is no longer ours.
        """
        while True:
            journal, tag = self._read_own()
            changed = change(journal).model_copy(update={"lease_until": self.now() + LEASE_SECONDS})
            try:
                self._write(changed, tag)
            except ClientError as error:
                if error_code(error) not in CONFLICTS:
                    raise
                continue  # one of our own mapped tasks wrote in between, or a takeover: the next read tells
            return changed

    def update_fleet(self, name: str, change: Callable[[FleetRecord], FleetRecord]) -> FleetRecord:
        """Change one fleet's record in our journal.

        :param name: the fleet's name.
        :raises OwnershipLostError: if the journal is no longer ours.
        """
        changed = self.update(
            lambda journal: journal.model_copy(
                update={"fleets": {**journal.fleets, name: change(journal.fleets[name])}}
            )
        )
        return changed.fleets[name]

    def deadline(self, fleet: str, step: str, seconds: float) -> float:
        """Return when a step has to be done, the same time however often it is asked.

        :param fleet: the fleet's name.
        :param step: the step, such as ``wave_1.capacity``.
        :param seconds: how long it may take from the first time on.
        """
        known = self.read().fleets[fleet].deadlines.get(step)
        if known is not None:
            return known
        record = self.update_fleet(
            fleet,
            lambda record: record.model_copy(
                update={"deadlines": {step: self.now() + seconds, **record.deadlines}}
            ),
        )
        return record.deadlines[step]

    def forget_deadline(self, fleet: str, step: str) -> None:
        """Let a step that gave up have its full time when a person begins it again.

        :raises OwnershipLostError: if the journal is no longer ours.
        """

        def without(record: FleetRecord) -> FleetRecord:
            left = {
                name: when
                for name, when in record.deadlines.items()
                if name != step and not name.startswith(f"{step}.")
            }
            watched = record.gate and deadline_name(record.gate.wave, "gate") == step
            gate = None if watched else record.gate
            return record.model_copy(update={"deadlines": left, "gate": gate})

        if fleet in self.read().fleets:
            self.update_fleet(fleet, without)

    def close(self) -> None:
        """Delete our journal; one that is gone already is fine.

        :raises OwnershipLostError: if it is somebody else's.
        """
        while True:
            found = self._read()
            if found is None:
                return
            journal, tag = found
            self._insist(journal)
            try:
                self._s3.delete_object(Bucket=self._bucket, Key=self._key, IfMatch=tag)
            except ClientError as error:
                if error_code(error) not in CONFLICTS | MISSING:
                    raise
                continue
            return

    def end(self, insist: Callable[[Journal], None]) -> Journal | None:
        """Delete a journal whoever it belongs to, if it is still what was found to be harmless.

        Whoever writes an intent meanwhile keeps it, and whoever wants to write one later finds it gone: so
        nothing is changed that no journal tells of.

        :param insist: raises if the journal must stay.
        :return: the journal that was deleted; None if there was none.
        :raises LockedError: if it was changed in this moment.
        """
        found = self._read()
        if found is None:
            return None
        journal, tag = found
        insist(journal)
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=self._key, IfMatch=tag)
        except ClientError as error:
            if error_code(error) not in CONFLICTS | MISSING:
                raise
            raise LockedError(
                f"{self._environment}: the journal was changed at this moment, so somebody acts; look again"
            ) from error
        return journal

    def _opened_already(self) -> Journal:
        found = self._read()
        if found is not None and found[0].owner == self.owner:
            return found[0]  # our own call, whose answer was lost, or an earlier try of this task
        holder = found[0].owner if found else "another run"
        raise LockedError(f"{self._environment}: {holder} holds the journal; wait for it or end it")

    def _read(self) -> tuple[Journal, str] | None:
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if error_code(error) in MISSING:
                return None
            raise
        try:
            return _parsed(answer["Body"].read()), answer["ETag"]
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise JournalError(
                f"{self._environment}: s3://{self._bucket}/{self._key} cannot be read ({where}: "
                f"{fault['msg']}): another version of bakeroll wrote it; let that version finish the rollout"
            ) from error

    def _read_own(self) -> tuple[Journal, str]:
        found = self._read()
        if found is None:
            raise OwnershipLostError(
                f"{self._environment}: the journal of {self.owner} is gone; start a new run"
            )
        self._insist(found[0])
        return found

    def _insist(self, journal: Journal) -> None:
        if journal.owner != self.owner:
            raise OwnershipLostError(
                f"{self._environment}: {journal.owner} took the journal over (epoch {journal.epoch}); "
                f"{self.owner} does nothing more"
            )
        if self._back is False and journal.rollback:
            raise RolledBackError(
                f"{self._environment}: the deployment is being rolled back, so this goes no further; "
                f"the cause: {journal.rollback.cause}"
            )
        if self._back and not journal.rollback:
            raise RollbackError(f"{self._environment}: nothing is being rolled back; start a new run")

    def _write(self, journal: Journal, tag: str) -> None:
        self._s3.put_object(
            Bucket=self._bucket,
            Key=self._key,
            Body=_body(journal),
            IfMatch=tag,
            ContentType="application/json",
        )


@lru_cache(maxsize=8)
def _parsed(content: bytes) -> Journal:
    """Read a journal; a look asks for it several times, and mostly nobody wrote meanwhile."""
    return Journal.model_validate_json(content)


def _body(journal: Journal) -> bytes:
    return journal.model_dump_json(indent=2).encode()
