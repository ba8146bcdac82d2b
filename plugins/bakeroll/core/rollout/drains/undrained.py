"""What becomes known of instances that could not be drained: a record in the bucket, a word to people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import ClientError

from bakeroll.core.aws import CONFLICTS, MISSING, Clients, error_code
from bakeroll.core.rollout.journal.releases import UNDECIDED

TOPIC = "{environment}-drain-failures"
"""The SNS topic, as terraform/modules/drain names it."""
SUBJECT_CHARACTERS = 100
"""The longest subject that SNS takes (API reference, Publish)."""
NO_TOPIC = frozenset({"NotFound", "NotFoundException"})
FORBIDDEN = frozenset({"AuthorizationError", "AuthorizationErrorException", "AccessDenied"})

NEXT_STEP = {
    "retained": "it is kept, its log buffers on its disk (Terminating:Retained): save them, then terminate "
    "it by name: aws autoscaling terminate-instance-in-auto-scaling-group --instance-id {instance_id} "
    "--no-should-decrement-desired-capacity",
    "lost": "it is terminated; log lines that were still buffered there are lost",
}


Outcome = Literal["retained", "lost"]


@dataclass(frozen=True)
class Undrained:
    """An instance that was given up, or went without a receipt.

    :ivar outcome: whether it is kept for a person, or gone.
    :ivar why: what went wrong with its drain.
    """

    instance_id: str
    outcome: Outcome
    why: str

    @property
    def sentence(self) -> str:
        """What happened and what is to be done."""
        next_step = NEXT_STEP[self.outcome].format(instance_id=self.instance_id)
        return f"{self.instance_id}: {self.why}; {next_step}."

    @property
    def facts(self) -> dict[str, Any]:
        """The same for a record or a task's result."""
        return {"instance_id": self.instance_id, self.outcome: True, "why": self.why}


def outcome_of(facts: Mapping[str, Any]) -> Outcome:
    """Return the outcome that :attr:`Undrained.facts` tell."""
    return "retained" if facts.get("retained") else "lost"


class Records:
    """Keeps what became of each drained instance: ``drains/<environment>/<instance>.json``.

    :param bucket: the state bucket.
    :param common: what all records say: environment, fleet, group and run.
    """

    def __init__(self, clients: Clients, bucket: str, environment: str, **common: object) -> None:
        self._s3 = clients.s3
        self._bucket = bucket
        self._environment = environment
        self._common = {"environment": environment, **common}

    def known(self, instance_id: str) -> bool:
        """Tell whether it is kept already what became of an instance."""
        try:
            self._s3.head_object(Bucket=self._bucket, Key=self._key(instance_id))
        except ClientError as error:
            if error_code(error) not in MISSING:
                raise
            return False
        return True

    def write(self, instance_id: str, now: float, facts: dict[str, Any]) -> None:
        """Keep what became of an instance: the first record stays, but a receipt replaces a failure.

        :param now: seconds since the epoch.
        """
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = json.dumps({**self._common, "instance_id": instance_id, "at": at, **facts}, indent=2).encode()
        key = self._key(instance_id)
        while True:
            try:
                self._put(key, body, IfNoneMatch="*")
            except ClientError as error:
                if error_code(error) in UNDECIDED:
                    continue
                if error_code(error) not in CONFLICTS:
                    raise
                if "receipt" in facts:
                    self._replace_failure(key, body)
            return

    def _replace_failure(self, key: str, body: bytes) -> None:
        while True:
            found = self._s3.get_object(Bucket=self._bucket, Key=key)
            if "receipt" in json.loads(found["Body"].read()):
                return
            try:
                self._put(key, body, IfMatch=found["ETag"])
            except ClientError as error:
                if error_code(error) not in CONFLICTS:
                    raise
                continue  # another attempt or run wrote as well, or S3 could not decide: look again
            return

    def _key(self, instance_id: str) -> str:
        return f"drains/{self._environment}/{instance_id}.json"

    def _put(self, key: str, body: bytes, **condition: str) -> None:
        put: Any = self._s3.put_object  # its type has no names for a condition that is chosen here
        put(Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", **condition)


def tell(clients: Clients, environment: str, fleet: str, run: str, news: Sequence[Undrained]) -> str:
    """Tell people, through the environment's topic, which instances were not drained.

    A message may come twice, where its answer was lost.

    :param run: the run that drains, ``<dag id>/<run id>``.
    :param news: at least one.
    :return: why nobody could be told; empty if they were. That must not hold up a drain.
    """
    counted = [
        f"{count} {outcome}"
        for outcome in NEXT_STEP
        if (count := sum(one.outcome == outcome for one in news))
    ]
    subject = f"bakeroll: {environment}, fleet {fleet}: {' and '.join(counted)} without being drained"
    lines = [f"Run: {run}", "", *(one.sentence for one in news)]
    try:
        clients.sns.publish(
            TopicArn=topic_arn(clients, environment),
            Subject=subject[:SUBJECT_CHARACTERS],
            Message="\n".join(lines),
        )
    except ClientError as error:
        topic = TOPIC.format(environment=environment)
        if error_code(error) in NO_TOPIC:
            return f"there is no topic {topic}; apply Terraform"
        if error_code(error) in FORBIDDEN:
            return f"publishing to {topic} is not allowed (sns:Publish); apply terraform/access"
        raise
    return ""


def topic_arn(clients: Clients, environment: str) -> str:
    """Return the ARN of an environment's topic, in the account of the credentials."""
    identity = clients.sts.get_caller_identity()
    partition = identity["Arn"].split(":")[1]
    region = clients.sns.meta.region_name
    return f"arn:{partition}:sns:{region}:{identity['Account']}:{TOPIC.format(environment=environment)}"
