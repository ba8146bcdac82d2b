"""One run of the deployment's DAG as Airflow runs it: tasks, retries, triggers, mapped tasks.

The order of a fleet's steps is core's own (:mod:`bakeroll.core.rollout.program`), which a test holds the
DAG to as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.aws import Clients
from bakeroll.core.deployment import Deployment
from bakeroll.core.errors import BakerollError, FinalError, OwnershipLostError
from bakeroll.core.layers import images
from bakeroll.core.rollout import begin
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.drains import Drain
from bakeroll.core.rollout.journal import releases
from bakeroll.core.rollout.program import Task, program
from bakeroll.core.steps import Act, Decision, Done, Step, Wait
from bakeroll.core.terraform import FleetOutput
from tools.chaos.agenda import Agenda, Process, Turns
from tools.chaos.invariants import Actor
from tools.chaos.world import DOCUMENT, ENVIRONMENT, FLEET, GROUP, HOOK, TEMPLATE, KilledError, World

RETRIES = 2
RETRY_DELAY_SECONDS = 30.0
"""The DAG's defaults."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 15.0
"""The trigger's pauses."""
FOUND_DEAD_SECONDS = 60.0
"""After how long Airflow finds that a process is dead."""


class Run:
    """One run.

    :param number: counts the schedule's runs.
    :param image_id: the application image that it deploys.
    """

    def __init__(self, world: World, agenda: Agenda, number: int, image_id: str, others: list[Run]) -> None:
        self.owner = f"rolling_deployment_chaos/run-{number}"
        self.image_id = image_id
        self.alive = True
        self.superseded = False
        """Whether it was marked failed while its processes went on: nobody clears such a run."""
        self.processes: list[Process] = []
        self.error: BaseException | None = None
        self._finished: dict[str, Any] = {}
        """Results of the tasks that succeeded: clearing what failed does not run them again."""
        self._others = others
        self._world = world
        self._agenda = agenda
        self.deployment = Deployment(
            world.environment_file,
            self.owner,
            lambda _: Clients(lambda service: world.client(service, self.owner)),
            now=world.aws.clock.now,
        )

    def start(self) -> Process:
        """Begin the run."""
        return self._start("run", self._main())

    def cleared(self) -> Process:
        """Go on after a person cleared what failed."""
        self.alive = True
        return self._start("run", self._main())

    def end(self, *, kill: bool) -> None:
        """Mark it failed in the UI.

        :param kill: whether its processes end with that; else they go on, which nobody sees.
        """
        self.alive = False
        self.superseded = not kill
        for process in self.processes:
            if kill:
                self._agenda.kill(process)
            else:
                process.stands_still = self._world.chance.choice([1.0, 130.0, 400.0, 900.0])

    def _start(self, what: str, turns: Turns) -> Process:
        process = self._agenda.start(Actor(self.owner, what), turns)
        self.processes.append(process)
        return process

    def _main(self) -> Turns:
        yield from self._task("begin", self._begin)
        yield from self._task("apply", self._apply)
        yield from self._fleet()
        yield from self._task("release", self._release)
        yield from self._task("close", self._close)

    def _fleet(self) -> Turns:
        result: Any = None
        for task in program(self.deployment.fleet(FLEET)):
            if task.mapped:
                yield from self._mapped(task, result)
            elif task.step == "proceed":
                yield from self._task(f"proceed {task.wave}", self._proceed)
            else:
                result = yield from self._step_task(task, {"fleet": FLEET, "wave": task.wave})

    def _proceed(self) -> Turns:
        """Go on, as the operator does where nobody asked for a pause."""
        yield 0.0
        self.deployment.ledger.read()

    def _mapped(self, task: Task, chunks: list[list[str]]) -> Turns:
        children = [
            self._start(
                f"{task.step} {number}",
                self._step_task(task, {"fleet": FLEET, "wave": task.wave, task.mapped: ids}, f" {number}"),
            )
            for number, ids in enumerate(chunks)
        ]
        while not all(child.over for child in children):
            yield 1.0
        for child in children:
            child.outcome()

    def _step_task(self, task: Task, arguments: Mapping[str, Any], part: str = "") -> Turns:
        def execute() -> Turns:
            given = dict(arguments)
            step = self.deployment.step(task.step, given)
            if isinstance(step, Drain):
                given["earlier"] = step.earlier_commands()
            return (yield from self._until_done(task.step, given))

        def give_up() -> None:
            self.deployment.give_up(task.step, arguments)

        return (yield from self._task(f"{task.step} {task.wave}{part}", execute, give_up))

    def _task(self, what: str, execute: Any, give_up: Any = lambda: None) -> Turns:
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
    def _noted(give_up: Any) -> bool:
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
            step = self._step(kind, arguments)
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
                        return done.result
                    case Wait():
                        break
            self._insist()
            yield from self._trigger(kind, arguments)

    def _stall(self) -> float:
        """Return how long a worker's machine does nothing between a look and what follows from it."""
        world = self._world
        stalls = not world.calm and world.chance.random() < world.plan.stall
        return world.chance.choice([5.0, 65.0, 200.0]) if stalls else 0.0

    def _trigger(self, kind: str, arguments: Mapping[str, Any]) -> Turns:
        step, pause = self._step(kind, arguments), FIRST_PAUSE_SECONDS
        while True:
            yield pause
            pause = min(LONGEST_PAUSE_SECONDS, pause * 1.2)
            try:
                if not isinstance(_look(step), Wait):
                    return
            except KilledError:
                if not self.alive or self._world.unforeseen:
                    raise
                # The triggerer is started again, and its triggers with it.
                yield FOUND_DEAD_SECONDS
                step, pause = self._step(kind, arguments), FIRST_PAUSE_SECONDS

    def _step(self, kind: str, arguments: Mapping[str, Any]) -> Step:
        if kind == "begin":
            return Begin(self.deployment.ledger, self.deployment.name, alive=self._alive)
        return self.deployment.step(kind, arguments)

    def _alive(self, owner: str) -> bool:
        return any(run.owner == owner and run.alive for run in self._others)

    def _begin(self) -> Turns:
        yield from self._until_done("begin", {})
        self._record()

    def _apply(self) -> Turns:
        yield 0.0
        ledger, clients = self.deployment.ledger, self.deployment.clients
        ledger.update(lambda journal: journal.model_copy(update={"image_id": self.image_id}))
        self._terraform()
        self._record(applied=True)
        begin.retain_abandoned(clients, ledger, self.deployment.environment.fleets)
        yield 0.0

    def _record(self, *, applied: bool = False) -> None:
        deployment = self.deployment
        settings = deployment.environment.fleets
        begin.record_fleets(deployment.clients, deployment.ledger, _outputs(), settings, applied=applied)

    def _terraform(self) -> None:
        """Point the group at the image, as Terraform's apply does: it has a lock of its own."""
        target = self._world.truth.target()
        if target["ImageId"] == self.image_id:
            return
        self._world.truth.targets += 1
        self._world.say(f"{self.owner} apply: {target['ImageId']} -> {self.image_id}")
        self._world.plain_client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchTemplate={
                "LaunchTemplateId": TEMPLATE,
                "Version": self._world.new_version(self.image_id),
            },
        )

    def _release(self) -> Turns:
        yield 0.0
        deployment = self.deployment
        journal = deployment.ledger.read()
        images.mark(deployment.clients.ec2, self.image_id, ENVIRONMENT, images.RELEASED)
        releases.record(deployment.clients.s3, deployment.environment.state_bucket, journal, {"fleets": {}})

    def _close(self) -> Turns:
        yield 0.0
        begin.close(self.deployment.ledger)


def _look(step: Step) -> Decision | None:
    """Look once as a trigger does."""
    try:
        decision = step.look()
        if isinstance(decision, Wait) and decision.keep_alive:
            decision.keep_alive()
    except BakerollError:
        return None
    return decision


def _outputs() -> dict[str, FleetOutput]:
    return {
        FLEET: FleetOutput(
            autoscaling_group=GROUP,
            launch_template_id=TEMPLATE,
            termination_hook=HOOK,
            drain_document=DOCUMENT,
        )
    }
