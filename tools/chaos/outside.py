"""Drains outside rollouts: the environment's other DAG, every five minutes beside whatever rolls."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.errors import BakerollError
from bakeroll.core.rollout.drains import terminations
from tools.chaos.agenda import Agenda, Turns
from tools.chaos.tasks import DagRun
from tools.chaos.world import BUCKET, KilledError, World

PERIOD_SECONDS = 300.0
"""The DAG's schedule."""


class OutsideDrains:
    """Begins a run of that DAG at each time of its schedule, for as long as somebody is there."""

    def __init__(self, world: World, agenda: Agenda) -> None:
        self._world = world
        self._agenda = agenda
        self._number = 0
        self._next = world.aws.clock.now()

    def maybe(self) -> None:
        """Begin a run if it is time."""
        now = self._world.aws.clock.now()
        if now < self._next:
            return
        self._next = now + PERIOD_SECONDS
        self._number += 1
        DrainRun(self._world, self._agenda, self._number).begin()


class DrainRun(DagRun):
    """One run: look who waits, then drain them."""

    def __init__(self, world: World, agenda: Agenda, number: int) -> None:
        super().__init__(world, agenda, f"drain_terminating_chaos/run-{number}")

    def begin(self) -> None:
        """Begin the run."""
        self._start("run", self._main())

    def _main(self) -> Turns:
        try:
            chunks = yield from self._task("find", self._find)
            yield from self._beside(
                {
                    f"drain {number}": self._step_task(f"drain {number}", "drain_waiting", chunk)
                    for number, chunk in enumerate(chunks)
                }
            )
        except (BakerollError, ClientError, BotoCoreError, KilledError) as error:
            self._world.say(f"{self.owner} is red: {str(error)[:160]}")

    def _find(self) -> Turns:
        yield 0.0
        deployment, now = self.deployment, self._world.aws.clock.now()
        fleets = deployment.known_fleets()
        found = terminations.find(deployment.clients, fleets, deployment.ledger.peek(), now)
        terminations.tell_of_retained(
            deployment.clients, BUCKET, deployment.name, fleets, found=found, run=self.owner, now=now
        )
        return found.chunks
