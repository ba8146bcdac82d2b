"""What tests of drains do again and again, in a rollout and outside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.drains.undrained import TOPIC
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from sandbox.direct import DirectAccount
from sandbox.model.ports import CommandResult
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import BUCKET, DOCUMENT, World, receipt, world

QUEUE = "told"


def retired(size: int = 2, *, make: Callable[..., World] = world, **group: Any) -> tuple[World, list[str]]:
    """Roll until the old instances are retired; returns the world and the ids of the first fifty."""
    w = make(size, maximum=2 * size, **group)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    chunks = w.run(w.step(Retire))
    return w, chunks[0]


def behave(w: World, ids: list[str], **behaviour: Any) -> None:
    """Have instances answer drains well, but for what is said otherwise."""
    for instance_id in ids:
        w.aws.hypervisor.instances[instance_id] = Behaviour(**{"answer": receipt, **behaviour})


def fails(words: str = "connection refused", status: int = 4) -> dict[str, Any]:
    """Give the behaviour of an instance whose drain script fails."""
    return {"answer": lambda *_: CommandResult(status=status, stdout="", stderr=words)}


def listen(w: World) -> None:
    """Make the topic of drain failures, with somebody who reads it."""
    if isinstance(w.aws, DirectAccount):
        w.aws.published.topics = {w.aws.account.arn("sns", TOPIC.format(environment="production"))}
        return
    sns, sqs = w.aws.client("sns"), w.aws.client("sqs")
    topic = sns.create_topic(Name=TOPIC.format(environment="production"))["TopicArn"]
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)


def told(w: World) -> list[tuple[str, str]]:
    """Return subject and text of each message that people got since the last time."""
    if isinstance(w.aws, DirectAccount):
        got = [(one["Subject"], one["Message"]) for one in w.aws.published.messages]
        w.aws.published.messages.clear()
        return got
    sqs = w.aws.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    found = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            body = json.loads(message["Body"])
            found.append((body["Subject"], body["Message"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def keep_abandoned(w: World) -> None:
    """Have the group keep abandoned instances, as a deployment does after each apply."""
    lifecycle_actions.keep_abandoned(w.clients, w.made.group)


def states(w: World) -> dict[str, str]:
    """Return the lifecycle state of each instance of the group."""
    return {one.instance_id: one.lifecycle_state for one in w.picture().instances}


def sent(w: World) -> list[list[str]]:
    """Return the instances of each command, the newest first."""
    return [one["InstanceIds"] for one in w.clients.ssm.list_commands()["Commands"]]


def completions(w: World) -> int:
    """Count the lifecycle actions that somebody ended."""
    assert w.wire is not None
    return w.wire.count("autoscaling", "CompleteLifecycleAction")


def record(w: World, instance_id: str) -> dict[str, Any]:
    """Return what the bucket says of an instance's drain."""
    body = w.clients.s3.get_object(Bucket=BUCKET, Key=f"drains/production/{instance_id}.json")["Body"]
    found: dict[str, Any] = json.loads(body.read())
    return found


def endless(w: World) -> None:
    """Give the document's step the time that the real one has, so that SSM does not end a script early."""
    content = json.loads(w.aws.documents.contents[DOCUMENT])
    content["mainSteps"][0]["inputs"]["timeoutSeconds"] = "172800"
    w.aws.documents.contents[DOCUMENT] = json.dumps(content)
