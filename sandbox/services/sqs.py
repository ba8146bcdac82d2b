"""SQS's ReceiveMessage, which may wait: without holding the account's lock as moto's would."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.wire.app import Handler

POLL_SECONDS = 0.1

Params = dict[str, Any]


def actions(moto: Moto, lock: AbstractContextManager[Any], waits: Callable[[], bool]) -> dict[str, Handler]:
    """Return SQS's handlers.

    :param waits: tells whether waiting can bring a message: not on a virtual clock.
    """

    def receive_message(params: Params) -> dict[str, Any]:
        wait = params.get("WaitTimeSeconds")
        now = params | {"WaitTimeSeconds": 0}
        if wait is None:
            asked = {"QueueUrl": params["QueueUrl"], "AttributeNames": ["ReceiveMessageWaitTimeSeconds"]}
            with lock:
                attributes = moto.call("sqs", "GetQueueAttributes", asked).get("Attributes", {})
            wait = attributes.get("ReceiveMessageWaitTimeSeconds", 0)
        deadline = time.monotonic() + float(wait)
        while True:
            with lock:
                answer = moto.call("sqs", "ReceiveMessage", now)
            if answer.get("Messages") or not waits() or time.monotonic() >= deadline:
                return answer
            time.sleep(POLL_SECONDS)

    return {"ReceiveMessage": receive_message}
