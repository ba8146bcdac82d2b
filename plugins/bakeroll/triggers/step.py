"""Wait for a step of a rollout without holding a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from bakeroll.core.deployment import Deployment
from bakeroll.core.steps import Observer, Step, Wait, pauses
from bakeroll.hooks.account import AccountHook


class StepTrigger(BaseTrigger):
    """Looks at a step until there is something to do in it, and says so.

    It only observes, besides heartbeats and the journal's lease, which do no harm twice: a trigger may
    run in two triggerers at once. What it sees it leaves to the operator to look at again and judge.

    :param environment_file: the environment's YAML file.
    :param owner: the run, ``<dag id>/<run id>``.
    :param kind: the step's name.
    :param arguments: the step's arguments; plain values.
    :param not_before: says nothing before this time, in seconds since the epoch.
    """

    def __init__(
        self,
        *,
        environment_file: str,
        owner: str,
        kind: str,
        arguments: Mapping[str, Any],
        not_before: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.environment_file = environment_file
        self.owner = owner
        self.kind = kind
        self.arguments = dict(arguments)
        self.not_before = not_before

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what makes this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "environment_file": self.environment_file,
                "owner": self.owner,
                "kind": self.kind,
                "arguments": self.arguments,
                "not_before": self.not_before,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, wait and look again; the one event says that the operator has something to do."""
        observer = Observer(await sync_to_async(self._step)())
        said = ""
        for pause in pauses():
            await asyncio.sleep(pause)
            decision = await asyncio.to_thread(observer.look)
            if not isinstance(decision, Wait):
                break
            if decision.why != said:
                said = decision.why
                self.log.info(said)
        await asyncio.sleep(self._seconds_before())
        yield TriggerEvent({"step": self.kind})  # type: ignore[no-untyped-call]

    def _seconds_before(self) -> float:
        return max(0.0, self.not_before - time.time())

    def _step(self) -> Step:
        deployment = Deployment(
            Path(self.environment_file), self.owner, lambda environment: AccountHook(environment).get_conn()
        )
        deployment.clients.prepare()
        return deployment.step(self.kind, self.arguments)
