"""The journal of a rollout: who may act on an environment, and what it was about to do.

One S3 object per environment, made with If-None-Match and changed with If-Match
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). It is written before
each change to AWS and deleted when the rollout is over, so what is found there was not finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bakeroll.core.aws import CONFLICTS, MISSING, error_code
from bakeroll.core.errors import (
    FleetError,
    JournalError,
    LockedError,
    OwnershipLostError,
    RollbackError,
    RolledBackError,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LEASE_SECONDS = 60.0
"""How long an owner that says nothing is believed to be still acting. Whoever acts or waits renews the
lease, tasks that run a tool for many minutes too."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Before(_Record):
    """What a fleet's group looked like before its capacity was raised."""

    minimum: int
    maximum: int
    protected: bool
    suspended: tuple[str, ...]


class Surge(_Record):
    """Capacity that is ours: intent first, then the change.

    :ivar amount: how many instances beyond the live target.
    :ivar minimum: MinSize as we set it last, or are about to.
    :ivar previous: MinSize as it stands until then.
    :ivar maximum: MaxSize as we set it, or are about to.
    :ivar maximum_before: MaxSize as it stands until then; None where it is not changed.
    :ivar base: the capacity that there was when the intent was noted; None in an older journal.
    :ivar outbid: whether somebody's MinSize took a part of it, so that more may have to be raised.
    :ivar applied: whether the raise was seen to have happened.
    :ivar retiring: instances that are terminated by name, each with a decrement.
    :ivar surplus: those of them that are current: a rollback has more of them than are needed.
    :ivar withdrawing: capacity that no instance was launched for yet, and that goes together with MinSize.
    :ivar withdrawn: how much went so.
    """

    amount: int
    minimum: int
    previous: int
    maximum: int
    maximum_before: int | None = None
    base: int | None = None
    outbid: bool = False
    applied: bool = False
    retiring: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    withdrawing: int = 0
    withdrawn: int = 0

    def owns(self, minimum: int) -> bool:
        """Tell whether a MinSize is one that we set or found, and not somebody else's since."""
        return minimum in {self.minimum, self.previous}

    def owns_maximum(self, maximum: int) -> bool:
        """Tell whether a MaxSize is one that we set or found, and not somebody else's since."""
        return maximum in {self.maximum, self.maximum_before}


class Exposure(_Record):
    """What a wave came to when its old instances had gone.

    :ivar current: instances that run the new version, whoever launched them: the rollout, a scaling policy
        or a replacement of an unhealthy one.
    :ivar counted: all instances that count towards desired capacity.
    :ivar retired: how many instances the rollout had terminated so far.
    :ivar at: when, in seconds since the epoch.
    """

    current: int
    counted: int
    retired: int
    at: float


class Watch(_Record):
    """What a wave's gate watches.

    :ivar since: when the watch began, in seconds since the epoch.
    :ivar until: when its soak ends; a retry does not start it again.
    :ivar instances: new instances that were seen to serve since then.
    :ivar fault: why the gate is shut, once it is.
    """

    wave: int
    since: float
    until: float
    instances: tuple[str, ...] = ()
    fault: str | None = None


class Rollback(_Record):
    """That everything goes back to what ran before: noted before the first change.

    :ivar cause: why, in one sentence.
    :ivar began_at: when, in seconds since the epoch.
    :ivar reject: whether the image is to be rejected: it was given to a fleet, and is not what ran before.
    :ivar rejected: whether that is done.
    :ivar retired: how many instances each fleet had retired by then; what it retires later goes back.
    """

    cause: str
    began_at: float
    reject: bool
    rejected: bool = False
    retired: dict[str, int] = Field(default_factory=dict)


class FleetRecord(_Record):
    """One fleet in the journal."""

    group: str
    launch_template_id: str
    termination_hook: str
    drain_document: str
    waves: tuple[str, ...] = ("100%",)
    """Shares as they were when the rollout began; a file that is changed meanwhile is refused."""
    template_before: str | None = None
    """Launch template version that ran before this rollout; None on a first deployment."""
    replaces: tuple[str, ...] | None = None
    """Instances that are replaced though nothing of them changed; None if no run asked for that."""
    template_id_before: str | None = None
    """The launch template it is of; None if it is the fleet's own of today."""
    launch_held: bool = False
    """Whether a rollback suspends the group's Launch process, or is about to."""
    before: Before | None = None
    surge: Surge | None = None
    retired: tuple[str, ...] = ()
    """All instances that this rollout terminated."""
    lost: tuple[str, ...] = ()
    """Those of them that went without a receipt, or are let go without one; noted before that is done."""
    retained: tuple[str, ...] = ()
    """Those of them that are kept for a person, or are about to be; noted before that is done."""
    undrained: dict[str, str] = Field(default_factory=dict)
    """Why, by instance id; of all that are lost or retained."""
    told: tuple[str, ...] = ()
    """Those of them that people were told of, as far as they could be."""
    untold: str = ""
    """Why nobody could be told, at the last time."""
    gate: Watch | None = None
    exposure: dict[str, Exposure] = Field(default_factory=dict)
    """By number of the wave, for each that is through."""
    deadlines: dict[str, float] = Field(default_factory=dict)
    """Absolute times (seconds since the epoch) by step, set once: a retry does not start them again."""

    @property
    def untouched(self) -> bool:
        """Whether nothing of the fleet was changed, nor is about to be."""
        return self.before is None and self.surge is None and not self.retired

    def check_waves(self, name: str, waves: Sequence[str]) -> None:
        """Make sure that the environment file has the waves that this rollout has begun with.

        :param name: the fleet's name.
        :param waves: the waves in the file.
        :raises FleetError: if it has others.
        """
        if self.waves != tuple(waves):
            raise FleetError(
                f"fleet {name}: fleets.{name}.waves was changed from {', '.join(self.waves)} to "
                f"{', '.join(waves)} in the middle of a rollout; put it back until the rollout is over"
            )


class Journal(_Record):
    """The whole journal of one environment."""

    version: int = 1
    environment: str
    owner: str
    """The run that may act: ``<dag id>/<run id>``."""
    epoch: int
    """Counts owners; whoever sees another epoch than its own has lost the right to act."""
    lease_until: float
    opened_at: float
    image_id: str | None = None
    waits_until: float | None = None
    """Until when a person may approve the plan: nobody renews the lease meanwhile."""
    apply_epoch: int | None = None
    """The epoch in which Terraform began to apply last; before that a run has changed nothing."""
    rollback: Rollback | None = None
    fleets: dict[str, FleetRecord] = Field(default_factory=dict)


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
            left = {name: when for name, when in record.deadlines.items() if name != step}
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
            return Journal.model_validate_json(answer["Body"].read()), answer["ETag"]
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


def _body(journal: Journal) -> bytes:
    return journal.model_dump_json(indent=2).encode()


def deadline_name(wave: int, step: str) -> str:
    """Return the name under which the journal keeps a step's deadline."""
    return f"wave_{wave}.{step}"
