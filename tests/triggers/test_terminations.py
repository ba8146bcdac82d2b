"""The trigger that wakes the drains, on a queue that is asked over HTTP as AWS's is."""

from __future__ import annotations

import asyncio
import json
import urllib.request

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bakeroll.triggers import terminations
from bakeroll.triggers.terminations import TerminationsTrigger

QUEUE = "production-terminations"
ACCOUNT = "123456789012"
REGION = "ap-northeast-1"
PATIENCE_SECONDS = 120.0
"""How long a loaded machine may take for what is seen within a second."""


@pytest.fixture
def endpoint():
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    # moto keeps its state in the process
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST"))
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def sqs(endpoint, monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {"endpoint_url": endpoint, "region_name": REGION},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_PRODUCTION", json.dumps(connection))
    monkeypatch.setattr(terminations, "LONG_POLL_SECONDS", 1)
    monkeypatch.setattr(terminations, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(terminations, "SETTLING_SECONDS", 0.2)
    return boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def trigger(aws_conn_id="aws_production"):
    made = TerminationsTrigger(queue_name=QUEUE, account_id=ACCOUNT, region=REGION, aws_conn_id=aws_conn_id)
    path, arguments = made.serialize()
    assert path == "bakeroll.triggers.terminations.TerminationsTrigger"
    return TerminationsTrigger(**arguments)


async def events(listening, count, before):
    """Return so many events; ``before`` is called in a thread when the trigger has begun to listen."""
    found = []

    async def listen():
        async for event in listening.run():
            found.append(event.payload)
            if len(found) == count:
                return

    task = asyncio.create_task(listen())
    await asyncio.to_thread(before)
    await asyncio.wait_for(task, PATIENCE_SECONDS)
    return found


def test_messages_that_come_together_wake_once_and_are_removed(sqs):
    url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    entries = [{"Id": str(number), "MessageBody": "{}"} for number in range(10)]

    async def twice():
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        listening = trigger().run()
        first = await asyncio.wait_for(anext(listening), PATIENCE_SECONDS)
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        second = await asyncio.wait_for(anext(listening), PATIENCE_SECONDS)
        await listening.aclose()
        return first.payload, second.payload

    first, second = asyncio.run(twice())
    assert first == {"queue": QUEUE, "messages": 11}
    assert second == {"queue": QUEUE, "messages": 1}, "the first ones were removed"


def test_a_queue_that_is_made_later_is_found(sqs):
    def make():
        url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="{}")

    assert asyncio.run(events(trigger(), 1, make)) == [{"queue": QUEUE, "messages": 1}]


def test_whatever_is_wrong_with_the_account_it_goes_on_listening(sqs, monkeypatch, caplog):
    """Airflow would start a trigger that failed again each second, for ever."""

    def mend():
        url = sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="{}")
        import os

        monkeypatch.setenv("AIRFLOW_CONN_AWS_LATER", os.environ["AIRFLOW_CONN_AWS_PRODUCTION"])

    assert asyncio.run(events(trigger("aws_later"), 1, mend)) == [{"queue": QUEUE, "messages": 1}]
