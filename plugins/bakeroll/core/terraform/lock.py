"""The lock of Terraform's state, taken for Terraform and marked as ours.

Terraform's own lock says ``user@host`` and nothing more: from it nobody can tell whether the process that
took it has ended, nor whether it was ours. So we take the very same lock ourselves, in Terraform's form, and
run Terraform with ``-lock=false`` under it: everybody else's Terraform honours it and shows who holds it, and
the next one of ours finds in it which process it belongs to.

Source: https://developer.hashicorp.com/terraform/language/backend/s3 (use_lockfile),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code
from bakeroll.core.errors import LockedError, RetryableError
from bakeroll.core.identity import Process, end_marked, marked, user

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SUFFIX = ".tflock"
MARKER = "BAKEROLL_STATE_LOCK"
"""Environment variable of all that runs under a lock: the lock's id."""

PROVIDER = "terraform-provider-"
"""How the programs of all providers are called
(https://developer.hashicorp.com/terraform/registry/providers/publishing)."""

OWN_WAIT_SECONDS = 1800.0
"""How long a Terraform that outlived its killed task is waited for: a load balancer takes minutes to make."""

ELSEWHERE_WAIT_SECONDS = 300.0
"""How long one on another machine is waited for: it may live, and then gives the lock back by itself."""

_POLL_SECONDS = 2.0
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_GONE = frozenset({"NoSuchKey", "404"})


@dataclass(frozen=True)
class Holder:
    """A lock as it stands in the bucket.

    :ivar tag: ETag of the object: what is deleted with it is this lock and no later one.
    :ivar run: the run that took it, if it is one of ours.
    :ivar process: the task that took it, if it is one of ours.
    """

    lock_id: str
    who: str
    created: str
    operation: str
    tag: str
    run: str = ""
    process: Process | None = None

    def state(self) -> Literal["foreign", "elsewhere", "alive", "dead"]:
        """Say what can be proven about the holder from here; only a dead one of our own may be put aside."""
        if self.process is None:
            return "foreign"
        if not self.process.visible():
            return "elsewhere"
        if self.process.alive():
            return "alive"
        # A provider outlives a Terraform that was killed, and for ever; alone it writes no state.
        tools = [one for one in marked(self.marker).values() if PROVIDER not in one]
        return "alive" if tools else "dead"

    @property
    def marker(self) -> str:
        """What stands in the environment of all that runs under the lock."""
        return f"{MARKER}={self.lock_id}"

    def described(self) -> str:
        """Say who holds it, and since when."""
        by = f"{self.run} (process {self.process.pid} of {self.who})" if self.process else self.who
        return f"{by} since {self.created} ({self.operation}, lock {self.lock_id})"


class StateLock:
    """The lock of one state.

    :param s3: a boto3 client.
    :param bucket: the state's bucket.
    :param key: the state's object.
    :param environment: the environment's name, for messages.
    :param run: the run that acts, for whoever finds the lock.
    :param say: gets a line where there is something to wait for or to put aside.
    :param wait_seconds: how long a lock of somebody else is waited for.
    :param own_wait_seconds: how long one of ours that lives is waited for.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        key: str,
        *,
        environment: str,
        run: str,
        say: Callable[[str], object],
        wait_seconds: float = 0.0,
        own_wait_seconds: float = OWN_WAIT_SECONDS,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._path = f"{bucket}/{key}"
        self._key = f"{key}{SUFFIX}"
        self._environment = environment
        self._run = run
        self._say = say
        self._wait_seconds = wait_seconds
        self._own_wait_seconds = own_wait_seconds

    @contextmanager
    def held(self, operation: Literal["Plan", "Apply"]) -> Iterator[str]:
        """Hold the lock; gives its id.

        :param operation: what for, in Terraform's words.
        :raises LockedError: if somebody else holds it, or one of ours whose end cannot be proven.
        :raises RetryableError: if a Terraform of ours that outlived its task does not come to its end.
        """
        lock_id, tag = self._take(operation)
        try:
            yield lock_id
        finally:
            self._delete(tag)

    def _take(self, operation: str) -> tuple[str, str]:
        lock_id = str(uuid.uuid4())
        body = self._info(lock_id, operation)
        began, said = time.monotonic(), ""
        while True:
            try:
                put = self._s3.put_object(
                    Bucket=self._bucket,
                    Key=self._key,
                    Body=body,
                    ContentType="application/json",
                    ServerSideEncryption="AES256",
                    IfNoneMatch="*",
                )
            except ClientError as error:
                if error_code(error) not in _TAKEN:
                    raise
            else:
                return lock_id, put["ETag"]
            holder = self._holder()
            if holder is None:
                continue  # let go between the two calls
            if holder.lock_id == lock_id:
                return lock_id, holder.tag  # our own call, whose answer was lost
            state = holder.state()
            if state == "dead":
                self._say(f"putting aside the state lock of {holder.described()}: that process has ended")
                end_marked(holder.marker)
                self._delete(holder.tag)
                continue
            waited = time.monotonic() - began
            if waited >= self._patience(state):
                raise self._refusal(holder, state, waited)
            if holder.lock_id != said:
                said = holder.lock_id
                self._say(f"waiting for the state lock of {holder.described()}")
            time.sleep(_POLL_SECONDS)

    def _patience(self, state: str) -> float:
        """Return how many seconds a lock is waited for."""
        if state == "alive":
            return self._own_wait_seconds
        if state == "elsewhere":
            return min(self._own_wait_seconds, ELSEWHERE_WAIT_SECONDS)
        return self._wait_seconds

    def _refusal(self, holder: Holder, state: str, waited: float) -> LockedError | RetryableError:
        told = f"{self._environment}: the Terraform state is locked by {holder.described()}"
        unlock = f"`terraform force-unlock {holder.lock_id}` in the environment's folder"
        if state == "alive" and holder.process:
            return RetryableError(
                f"{told}, an earlier try of ours that still runs on this machine after {waited:.0f} s; "
                "this is tried again"
            )
        if state == "elsewhere" and holder.process:
            return LockedError(
                f"{told}, one of ours on {holder.process.host}, where its end cannot be seen from here; look "
                f"there for a process with {MARKER}={holder.lock_id}, and if there is none run {unlock}"
            )
        return LockedError(f"{told}; wait until that run ends, or, if it is surely dead, run {unlock}")

    def _info(self, lock_id: str, operation: str) -> bytes:
        process = Process.this()
        info = {
            "ID": lock_id,
            "Operation": f"OperationType{operation}",
            "Info": json.dumps({"bakeroll": {"run": self._run, **process.as_dict()}}),
            "Who": f"{user()}@{process.host}",
            "Version": "bakeroll",
            "Created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "Path": self._path,
        }
        return json.dumps(info).encode()

    def _holder(self) -> Holder | None:
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=self._key)
        except ClientError as error:
            if error_code(error) in _GONE:
                return None
            raise
        return _holder(found["Body"].read(), found["ETag"])

    def _delete(self, tag: str) -> None:
        """Delete the lock that has this ETag, and no other: whoever took it since keeps it."""
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=self._key, IfMatch=tag)
        except ClientError as error:
            if error_code(error) not in _TAKEN | _GONE:
                raise  # else it is gone: put aside by a person, or deleted by a call whose answer was lost


def _holder(content: bytes, tag: str) -> Holder:
    """Read a lock, whoever wrote it; what is not in our form belongs to somebody else."""
    try:
        info: dict[str, Any] = dict(json.loads(content))
    except (ValueError, TypeError):
        return Holder("(unreadable)", "somebody unknown", "an unknown time", "unknown operation", tag)
    run, process = _own(info.get("Info"))
    return Holder(
        lock_id=str(info.get("ID") or "(without an ID)"),
        who=str(info.get("Who") or "somebody unknown"),
        created=str(info.get("Created") or "an unknown time"),
        operation=str(info.get("Operation") or "unknown operation"),
        tag=tag,
        run=run,
        process=process,
    )


def _own(info: object) -> tuple[str, Process | None]:
    try:
        content = json.loads(str(info))["bakeroll"]
        return str(content["run"]), Process.from_dict(content)
    except (ValueError, KeyError, TypeError):
        return "", None
