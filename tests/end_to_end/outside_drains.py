"""Terminations outside deployments on a running stage: what waits is drained, with a message and without."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from demo import collector, log_lines, traffic
from demo.account import Account
from demo.log_lines import Comparison
from demo.settings import DRAIN_DAG_ID, ENVIRONMENT, FLEET
from demo.stage import Stage
from tests.end_to_end.running_stage import client

GROUP = f"{ENVIRONMENT}-{FLEET}"
RULE = TOPIC = f"{ENVIRONMENT}-terminations"
HELD = "Terminating:Wait"
PAST = "Terminating:Proceed"
POLL_SECONDS = 0.5
#: A loaded machine may take minutes for what takes seconds; nothing here is judged by it.
PATIENCE_SECONDS = 600.0


class LateError(AssertionError):
    """What should have come about did not."""


@dataclass
class Drained:
    """One instance that terminated outside a deployment.

    :ivar held: when it was first seen to wait at its hook, in seconds since the epoch.
    :ivar let_go: when it was first seen to wait no more; None until then.
    :ivar record: what the drain kept of it in the bucket.
    """

    instance_id: str
    held: float
    let_go: float | None = None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it waited."""
        return (self.let_go or float("inf")) - self.held

    @property
    def flush_seconds(self) -> float:
        """How long its drain script took."""
        return float(self.record["receipt"]["duration_seconds"])


class Outside(NamedTuple):
    """What a scenario did.

    :ivar lines: log lines of the requests that were answered meanwhile.
    :ivar failures: requests that were not answered.
    """

    drained: list[Drained]
    lines: Comparison
    failures: tuple[str, ...]


class OutsideDrains:
    """Terminates instances as somebody else does, and watches what becomes of them.

    :param stage: running, with a deployed fleet of two.
    :param state_bucket: where drains are recorded.
    :param say: takes a progress line.
    """

    def __init__(self, stage: Stage, state_bucket: str, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._bucket = state_bucket
        self._say = say
        self._account = Account(stage.settings.endpoint_url)
        self._url = self._account.load_balancer_url()
        self._size = len(self._account.instances())
        self._client = partial(client, stage.settings)

    def terminate_one(self) -> Outside:
        """Terminate one instance through its group, as a person does; the group replaces it."""
        victim = self._account.instances()[0].instance_id

        def terminate() -> None:
            self._client("autoscaling").terminate_instance_in_auto_scaling_group(
                InstanceId=victim, ShouldDecrementDesiredCapacity=False
            )

        return self._watch("outside-one", 1, terminate)

    def scale_in_unheard(self, count: int, after: Callable[[], object]) -> Outside:
        """Scale in with every message lost.

        :param count: how many instances come and go.
        :param after: called once the instances wait and no message has come of it, for instance to start
            the run that the schedule starts within five minutes.
        """
        autoscaling, events = self._client("autoscaling"), self._client("events")
        size = self._size
        before = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][
            0
        ]
        autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            MaxSize=max(before["MaxSize"], size + count),
            DesiredCapacity=size + count,
        )
        self._await("the group has grown", lambda: self._healthy() == size + count)
        events.disable_rule(Name=RULE)
        try:
            found = self._watch(
                f"outside-scale-in-{count}",
                count,
                lambda: autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=size),
                after,
            )
        finally:
            events.enable_rule(Name=RULE)
            autoscaling.update_auto_scaling_group(AutoScalingGroupName=GROUP, MaxSize=before["MaxSize"])
        return found

    @contextmanager
    def subscribed(self) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """Subscribe to the topic as a person does; yields what gives the events that have come."""
        sns, sqs = self._client("sns"), self._client("sqs")
        topic = next(
            one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith(f":{TOPIC}")
        )
        url = sqs.create_queue(QueueName="a-person")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        came: list[dict[str, Any]] = []

        def events() -> list[dict[str, Any]]:
            for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                came.append(json.loads(json.loads(one["Body"])["Message"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
            return came

        yield events
        sqs.delete_queue(QueueUrl=url)

    def _watch(
        self,
        name: str,
        count: int,
        act: Callable[[], object],
        after: Callable[[], object] = lambda: None,
    ) -> Outside:
        """Act under load, watch until the group is whole again, and bring in the log lines."""
        collected = collector.request_ids(self._stage.settings.collected)
        load = traffic.LoadProcess(self._stage.settings, self._url, name)
        before = set(self._states())
        act()
        drained = self._await_held(count, before)
        after()
        self._await("all are let go", lambda: self._let_go(drained))
        self._await("the group is whole", lambda: self._healthy() == self._size)
        summary = load.end()
        for one in drained.values():
            one.record = self._record(one.instance_id)
        addresses = [each.private_ip for each in self._account.instances() if each.healthy]
        lines = log_lines.bring_in(
            addresses,
            set(summary.answered),
            lambda: collector.request_ids(self._stage.settings.collected) - collected,
        )
        for one in drained.values():
            self._say(
                f"{one.instance_id} was let go after {one.seconds:.1f} s, {one.flush_seconds:.0f} s of "
                f"them its drain, by {one.record['run']}"
            )
        self._say(f"log lines: {lines}; {summary.sent} requests, {len(summary.errors)} failed")
        return Outside(list(drained.values()), lines, tuple(summary.errors))

    def _await_held(self, count: int, before: set[str]) -> dict[str, Drained]:
        """Wait until so many have come to their hook; on a stalled machine one may be past it already."""
        found: dict[str, Drained] = {}

        def all_held() -> bool:
            states = self._states()
            for instance_id in before.difference(found):
                if states.get(instance_id, PAST).startswith("Terminating:"):
                    self._say(f"{instance_id} waits at its hook")
                    found[instance_id] = Drained(instance_id, time.time())
            return len(found) == count

        self._await(f"{count} wait at their hook", all_held)
        return found

    def _let_go(self, drained: dict[str, Drained]) -> bool:
        states = self._states()
        for one in drained.values():
            if one.let_go is None and states.get(one.instance_id) != HELD:
                one.let_go = time.time()
        return all(one.let_go for one in drained.values())

    def _states(self) -> dict[str, str]:
        groups = self._client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
        return {
            one["InstanceId"]: one["LifecycleState"] for one in groups["AutoScalingGroups"][0]["Instances"]
        }

    def _healthy(self) -> int:
        return sum(one.healthy for one in self._account.instances())

    def _record(self, instance_id: str) -> dict[str, Any]:
        try:
            answer = self._client("s3").get_object(
                Bucket=self._bucket, Key=f"drains/{ENVIRONMENT}/{instance_id}.json"
            )
        except ClientError as error:
            raise LateError(f"{instance_id} went without a record of its drain: {error}") from error
        found: dict[str, Any] = json.loads(answer["Body"].read())
        return found

    @staticmethod
    def _await(what: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not there():
            if time.monotonic() > deadline:
                raise LateError(f"after {PATIENCE_SECONDS:.0f} s it is still not so that {what}")
            time.sleep(POLL_SECONDS)


def start_run(stage: Stage) -> Callable[[], object]:
    """Return what starts a run of the DAG as its schedule does."""
    return lambda: stage.client.trigger(DRAIN_DAG_ID, {})
