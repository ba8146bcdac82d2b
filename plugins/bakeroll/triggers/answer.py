"""Wait for a person's answer, and for whatever makes it pointless."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from bakeroll.triggers.step import StepTrigger


class AnswerTrigger(StepTrigger):
    """Looks at a step that waits for a person, while Airflow's API waits for the answer.

    The API hands an answer to a deferred task by itself. One that came before the task was deferred, in the
    moment between question and deferral, is fetched here.

    :param ti_id: the id of the task instance that asks.
    """

    def __init__(self, *, ti_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again."""
        path, arguments = super().serialize()
        return path, {**arguments, "ti_id": self.ti_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Give the answer if there is one already; else look at the step until there is something to do."""
        answer = await sync_to_async(get_hitl_detail_content_detail)(ti_id=UUID(self.ti_id))
        if answer.response_received and answer.chosen_options:
            await asyncio.sleep(self._seconds_before())
            yield TriggerEvent(  # type: ignore[no-untyped-call]
                {
                    "chosen_options": list(answer.chosen_options),
                    "responded_by_user": {"name": answer.responded_by_user.name}
                    if answer.responded_by_user
                    else None,
                }
            )
            return
        async for event in super().run():
            yield event
