"""Wake a DAG when instances begin to wait for their drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code

LONG_POLL_SECONDS = 20
"""The longest that SQS waits for a message (API reference, ReceiveMessage)."""
BATCH = 10
"""The most messages that SQS hands over at once (API reference, ReceiveMessage)."""
SETTLING_SECONDS = 1.0
"""A scale-in's messages come within seconds of each other: those that follow the first join it."""
RETRY_SECONDS = 30.0
"""An account that does not answer, or has no queue yet, is asked again that much later."""
NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


class TerminationsTrigger(BaseEventTrigger):
    """Waits for messages on an environment's queue, and fires once for all that come together.

    It goes on where the provider's SqsSensorTrigger ends: Airflow starts a watcher that failed again a
    second later, for ever, and before the first deployment there is no queue. The queue goes by its name,
    as AWS advises against building its URL
    (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_GetQueueUrl.html).
    A message is removed after the event was handed on, so that it is never lost between the two.

    :param queue_name: name of the SQS queue.
    :param account_id: account that owns it.
    :param region: its region.
    :param aws_conn_id: Airflow connection to AWS.
    """

    def __init__(self, *, queue_name: str, account_id: str, region: str, aws_conn_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.queue_name = queue_name
        self.account_id = account_id
        self.region = region
        self.aws_conn_id = aws_conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "queue_name": self.queue_name,
                "account_id": self.account_id,
                "region": self.region,
                "aws_conn_id": self.aws_conn_id,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire for each group of messages; it never ends by itself."""
        said = ""
        while True:
            try:
                async with await self._hook.get_async_conn() as sqs:  # type: ignore[no-untyped-call]
                    async for event in self._listen(sqs):
                        said = ""
                        yield event
            except Exception as error:  # noqa: BLE001  whatever it is, what waits for its drain comes first
                why = self._why(error)
                if why != said:  # said once, not every half minute
                    said = why
                    self.log.warning(
                        "%s cannot be listened to: %s; the schedule drains meanwhile", self.queue_name, why
                    )
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self, sqs: Any) -> AsyncIterator[TriggerEvent]:
        answer = await sqs.get_queue_url(QueueName=self.queue_name, QueueOwnerAWSAccountId=self.account_id)
        url = answer["QueueUrl"]
        while True:
            messages = await self._receive(sqs, url, LONG_POLL_SECONDS)
            if not messages:
                continue
            await asyncio.sleep(SETTLING_SECONDS)
            while more := await self._receive(sqs, url, 0):
                messages.extend(more)
            self.log.info("%s: %s messages", self.queue_name, len(messages))
            yield TriggerEvent({"queue": self.queue_name, "messages": len(messages)})  # type: ignore[no-untyped-call]
            for start in range(0, len(messages), BATCH):
                await self._delete(sqs, url, messages[start : start + BATCH])

    async def _receive(self, sqs: Any, url: str, seconds: int) -> list[dict[str, Any]]:
        answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds)
        return list(answer.get("Messages", []))

    async def _delete(self, sqs: Any, url: str, messages: list[dict[str, Any]]) -> None:
        """Remove messages; one that stays wakes the DAG once more, which does no harm."""
        await sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]}
                for number, one in enumerate(messages)
            ],
        )

    @property
    def _hook(self) -> AwsGenericHook[Any]:
        return AwsGenericHook(aws_conn_id=self.aws_conn_id, region_name=self.region, client_type="sqs")

    def _why(self, error: Exception) -> str:
        if isinstance(error, ClientError) and error_code(error) in NO_QUEUE:
            return "there is no such queue; the first deployment makes it"
        return f"{type(error).__name__}: {error}"
