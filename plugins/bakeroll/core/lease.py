"""A lease: one S3 object that says who does a thing now, and what of it is begun and not cleaned up.

It is made with If-None-Match, changed and deleted with If-Match
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html), so of several that want it
at once one gets it. Its holder renews it; one that is not renewed for its whole length has lapsed and may
be taken over, with the facts that its holder wrote into it. Times are the holder's clock's: clocks that
differ by seconds make a lease that much shorter or longer, so a lease is long against that.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.aws import CONFLICTS, MISSING, error_code
from bakeroll.core.errors import LeaseLostError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SECONDS = 60.0
"""How long a holder that says nothing is believed to be at it. It renews four times in that time."""


@dataclass(frozen=True)
class Lease:
    """A lease as it stands in the bucket. Times are seconds since the epoch.

    :param owner: ``<who>/<token>``; the token is another for each try.
    :param epoch: counts its owners.
    :param facts: what the owner has begun; JSON values.
    """

    owner: str
    epoch: int
    taken_at: float
    renewed_at: float
    until: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holder(self) -> str:
        """Who owns it, without the token."""
        return self.owner.rpartition("/")[0]

    def live(self, now: float) -> bool:
        """Tell whether its owner has to be believed to be at it."""
        return now < self.until


class LeaseObject:
    """Takes, renews and gives back one lease on behalf of one owner.

    :param s3: a boto3 client.
    :param key: the object's key.
    :param owner: ``<who>/<token>``.
    :param now: the clock, in seconds since the epoch.
    :param seconds: length of the lease.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        owner: str,
        *,
        now: Callable[[], float] = time.time,
        seconds: float = SECONDS,
    ) -> None:
        self._s3 = s3
        self._now = now
        self.bucket = bucket
        self.key = key
        self.owner = owner
        self.seconds = seconds

    def peek(self) -> Lease | None:
        """Return the lease as it is, whoever owns it."""
        found = self._read()
        return found[0] if found else None

    def take(self) -> Lease | None:
        """Take the lease if it is free or has lapsed; the facts of a lapsed one stay.

        :return: our lease, or None if somebody else has it.
        """
        while True:
            found = self._read()
            now = self._now()
            ours = Lease(self.owner, 1, now, now, now + self.seconds)
            if found is None:
                if self._put(ours, IfNoneMatch="*"):
                    return ours
                continue  # somebody was quicker, or it is our own call whose answer was lost
            lease, tag = found
            if lease.owner == self.owner:
                return lease
            if lease.live(now):
                return None
            ours = replace(ours, epoch=lease.epoch + 1, facts=lease.facts)
            if self._put(ours, IfMatch=tag):
                return ours

    def own(self) -> Lease:
        """Return our lease.

        :raises LeaseLostError: if it is not ours any more.
        """
        return self._read_own()[0]

    def update(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda facts: facts) -> Lease:
        """Renew our lease, and change its facts.

        :param change: returns the changed facts; may be called more than once.
        :raises LeaseLostError: if it is not ours any more.
        """
        return self._renew(change, self.seconds)

    def _renew(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]], seconds: float) -> Lease:
        while True:
            lease, tag = self._read_own()
            now = self._now()
            renewed = replace(lease, facts=change(lease.facts), renewed_at=now, until=now + seconds)
            if self._put(renewed, IfMatch=tag):
                return renewed  # else another of our own threads or processes wrote, or somebody took over

    def lapse(self) -> None:
        """Let whoever wants it have our lease now, with what is in it.

        :raises LeaseLostError: if it is not ours any more.
        """
        self._renew(lambda facts: facts, 0.0)

    def release(self) -> None:
        """Give our lease back; one that is not ours any more is left alone."""
        while True:
            found = self._read()
            if found is None or found[0].owner != self.owner:
                return
            try:
                self._s3.delete_object(Bucket=self.bucket, Key=self.key, IfMatch=found[1])
            except ClientError as error:
                if error_code(error) not in CONFLICTS | MISSING:
                    raise
                continue
            return

    @contextmanager
    def kept(self, *, warn: Callable[[str], object], lost: Callable[[], object]) -> Iterator[None]:
        """Renew our lease beside what is done meanwhile.

        :param warn: gets what goes wrong with that.
        :param lost: called, from another thread, if the lease is not ours any more.
        """
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self.seconds / 4):
                try:
                    self.update()
                except LeaseLostError as error:
                    warn(str(error))
                    lost()
                    return
                except (BotoCoreError, ClientError) as error:
                    warn(f"lease {self.key} was not renewed and is tried again: {error}")

        thread = threading.Thread(target=renew, name=f"lease {self.key}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _read(self) -> tuple[Lease, str] | None:
        try:
            answer = self._s3.get_object(Bucket=self.bucket, Key=self.key)
        except ClientError as error:
            if error_code(error) in MISSING:
                return None
            raise
        return Lease(**json.loads(answer["Body"].read())), answer["ETag"]

    def _read_own(self) -> tuple[Lease, str]:
        found = self._read()
        if found is None or found[0].owner != self.owner:
            taken = f"{found[0].holder} took it over" if found else "it is gone"
            raise LeaseLostError(
                f"lease s3://{self.bucket}/{self.key} of {self.owner} was not renewed in time "
                f"and {taken}; run again"
            )
        return found

    def _put(self, lease: Lease, **condition: str) -> bool:
        """Write the lease under a condition; tells whether it was met."""
        try:
            self._s3.put_object(
                Bucket=self.bucket,
                Key=self.key,
                Body=json.dumps(asdict(lease), indent=2).encode(),
                ContentType="application/json",
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error_code(error) not in CONFLICTS | MISSING:
                raise
            return False
        return True
