"""Tasks as Airflow runs them: retries, deferred waits in the triggerer, mapped tasks, processes that die."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.aws import Clients
from bakeroll.core.deployment import Deployment
from bakeroll.core.errors import BakerollError, FinalError, OwnershipLostError
from bakeroll.core.rollout.drains.drain import Drain
from bakeroll.core.rollout.drains.drain_waiting import DrainWaiting
from bakeroll.core.steps import Act, Done, Observer, Step, Wait, pauses
from tools.chaos.agenda import Agenda, Process, Turns
from tools.chaos.invariants import Actor
from tools.chaos.world import KilledError, World

RETRIES = 2
RETRY_DELAY_SECONDS = 30.0
"""The DAGs' defaults."""
VERIFYING = {"verify", "verify_restored"}
"""Steps that see a fleet as it should be."""
FOUND_DEAD_SECONDS = 60.0
"""After how long Airflow finds that a process is dead."""


class DagRun:
    """One run of a DAG.

    :param owner: ``<dag id>/<run id>``.
    """

    def __init__(self, world: World, agenda: Agenda, owner: str) -> None:
        self.owner = owner
        self.alive = True
        self.processes: list[Process] = []
        self._finished: dict[str, Any] = {}
        """Results of the tasks that succeeded: clearing what failed does not run them again."""
        self._world = world
        self._agenda = agenda
        self.deployment = Deployment(
            world.environment_file,
            owner,
            lambda _: Clients(lambda service: world.client(service, owner)),
            now=world.aws.clock.now,
            environment=world.environment,
        )

    def _start(self, what: str, turns: Turns) -> Process:
        process = self._agenda.start(Actor(self.owner, what), turns)
        self.processes.append(process)
        return process

    def _beside(self, parts: Mapping[str, Turns]) -> Turns:
        """Run several parts beside each other; the first that fails is told at once, the others go on."""
        children = [self._start(what, turns) for what, turns in parts.items()]
        while not all(child.over for child in children):
            for child in children:
                if child.error is not None:
                    child.outcome()
            yield 1.0
        for child in children:
            child.outcome()

    def _step_task(self, what: str, kind: str, arguments: Mapping[str, Any]) -> Turns:
        """Run a task that carries out one step."""

        def execute() -> Turns:
            given = dict(arguments)
            step = self.deployment.step(kind, given)
            if isinstance(step, Drain | DrainWaiting):
                given["earlier"] = step.earlier_commands()
            result = yield from self._until_done(kind, given)
            if kind in VERIFYING:
                self._world.invariants.verified(self._world.actor, arguments["fleet"])
            return result

        def give_up() -> None:
            self.deployment.give_up(kind, arguments)

        return (yield from self._task(what, execute, give_up))

    def _task(
        self, what: str, execute: Callable[[], Turns], give_up: Callable[[], None] = lambda: None
    ) -> Turns:
        """Run a task with Airflow's retries; whoever runs it may die."""
        if what in self._finished:
            return self._finished[what]
        for attempt in range(RETRIES + 1):
            self._insist()
            pause = RETRY_DELAY_SECONDS
            try:
                self._finished[what] = yield from execute()
                return self._finished[what]
            except OwnershipLostError:
                raise
            except FinalError as error:
                if attempt == RETRIES or self._noted(give_up):
                    raise
                self._world.say(f"{self.owner} {what} failed and could not note it: {error}")
            except (BakerollError, ClientError, BotoCoreError) as error:
                self._world.say(f"{self.owner} {what} failed: {type(error).__name__}: {str(error)[:120]}")
                if attempt == RETRIES:
                    raise
            except KilledError:
                if not self.alive or self._world.unforeseen or attempt == RETRIES:
                    raise
                pause = FOUND_DEAD_SECONDS
            yield pause
        raise RuntimeError("a task has more attempts than it has")

    @staticmethod
    def _noted(give_up: Callable[[], None]) -> bool:
        """Note that a step gave up, as an operator does; an error of that itself is one to try again."""
        try:
            give_up()
        except (ClientError, BotoCoreError):
            return False
        return True

    def _insist(self) -> None:
        """Begin nothing for a run that was marked failed."""
        if not self.alive:
            raise KilledError

    def _until_done(self, kind: str, arguments: Mapping[str, Any]) -> Turns:
        """Act in the worker, wait in the triggerer, in turns."""
        while True:
            done, result = yield from self._advance(kind, self._step(kind, arguments))
            if done:
                return result
            self._insist()
            yield from self._trigger(kind, arguments)

    def _advance(self, kind: str, step: Step) -> Turns:
        """Look and act in turns; return whether the end was reached, and its result."""
        while True:
            decision = step.look()
            yield self._stall()
            match decision:
                case Act(what, perform):
                    self._world.say(f"{self.owner} {kind}: {what}")
                    perform()
                    yield 0.0
                case Done() as done:
                    self._world.say(f"{self.owner} {kind}: {done.what}")
                    return True, done.result
                case Wait():
                    return False, None

    def _stall(self) -> float:
        """Return how long a worker's machine does nothing between a look and what follows from it."""
        world = self._world
        stalls = not world.calm and world.chance.random() < world.plan.stall
        seconds = world.chance.choice([5.0, 65.0, 200.0]) if stalls else 0.0
        if stalls:
            world.actions.held_up(seconds)
        return seconds

    def _trigger(self, kind: str, arguments: Mapping[str, Any]) -> Turns:
        observer, waits = Observer(self._step(kind, arguments)), pauses()
        while True:
            yield next(waits)
            try:
                if not isinstance(observer.look(), Wait):
                    return
            except KilledError:
                if not self.alive or self._world.unforeseen:
                    raise
                # The triggerer is started again, and its triggers with it.
                yield FOUND_DEAD_SECONDS
                observer, waits = Observer(self._step(kind, arguments)), pauses()

    def _step(self, kind: str, arguments: Mapping[str, Any]) -> Step:
        return self.deployment.step(kind, arguments)
