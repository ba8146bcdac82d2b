"""What the drain script says when it is done: the receipt of one instance."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bakeroll.core.errors import DrainError

KEY = "bakeroll_receipt"
"""The script prints one line of JSON with this key, whatever else it prints."""


class Receipt(BaseModel):
    """How full an instance's log buffers were before and after.

    :ivar queue_length_before: chunks queued in all outputs before the flush.
    :ivar bytes_before: bytes buffered in all outputs before the flush.
    :ivar records_before: log records that the outputs had taken in before the flush, since Fluentd was
        started; None if the forwarder does not tell.
    :ivar records_after: the same at the end; with empty buffers all of them have been sent.
    :ivar unread_bytes: bytes of tailed files that Fluentd had not read at the end.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    queue_length_before: int
    bytes_before: int
    records_before: int | None = None
    queue_length_after: int
    bytes_after: int
    records_after: int | None = None
    unread_bytes: int
    duration_seconds: float

    @property
    def empty(self) -> bool:
        """Whether nothing was left behind."""
        return self.queue_length_after == 0 and self.bytes_after == 0 and self.unread_bytes == 0

    def summary(self) -> str:
        """Say what the drain did."""
        read = ""
        if self.records_before is not None and self.records_after is not None:
            read = f", {self.records_after - self.records_before} log lines read meanwhile"
        return (
            f"{self.bytes_before} bytes in {self.queue_length_before} queued chunks were buffered{read}, "
            f"{self.duration_seconds:g} s"
        )

    def rest(self) -> str:
        """Say what was left behind."""
        return (
            f"{self.bytes_after} bytes in {self.queue_length_after} chunks and {self.unread_bytes} unread "
            "bytes are left"
        )


def parse(instance_id: str, output: str) -> Receipt:
    """Find the receipt in the output of the drain script.

    :param instance_id: the instance, for the message.
    :param output: the command's standard output.
    :raises DrainError: if there is no receipt or it is no such receipt.
    """
    for line in reversed(output.splitlines()):
        if KEY in line:
            return _validated(instance_id, line)
    raise DrainError(
        f"{instance_id}: the drain script ended without a receipt; look at the command's output in SSM"
    )


def _validated(instance_id: str, line: str) -> Receipt:
    try:
        content: dict[str, Any] = json.loads(line)
        return Receipt.model_validate(content[KEY])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DrainError(
            f"{instance_id}: the drain script's receipt cannot be read ({type(error).__name__}): "
            f"{line[:200]}; is the drain document the one of this version?"
        ) from error
