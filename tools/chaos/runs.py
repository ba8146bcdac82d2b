"""One run of the deployment's DAG: its tasks in their order, and its rollback.

The order of a fleet's steps is core's own (:mod:`bakeroll.core.rollout.program`), which a test holds the
DAG to as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.deployment import BACK_WAVE
from bakeroll.core.errors import AbortedError, BakerollError
from bakeroll.core.rollout import begin, release, rollback
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.program import Task, program
from bakeroll.core.steps import Observer, Step, pauses
from bakeroll.core.terraform import FleetOutput
from tools.chaos.agenda import Agenda, Process, Turns
from tools.chaos.tasks import DagRun
from tools.chaos.world import HOOK, MOVING, KilledError, World, template_id

FAILURES = (BakerollError, ClientError, BotoCoreError, KilledError)
"""What a task fails with; a person who ends the run kills it as well."""


class Run(DagRun):
    """One run.

    :param number: counts the schedule's runs.
    :param image_id: the application image that it deploys.
    :param replace: whether it replaces all instances that it finds.
    :param abandon: whether it leaves a rollback that an earlier run did not finish.
    """

    def __init__(
        self,
        world: World,
        agenda: Agenda,
        number: int,
        image_id: str,
        others: list[Run],
        *,
        replace: bool = False,
        abandon: bool = False,
    ) -> None:
        super().__init__(world, agenda, f"rolling_deployment_chaos/run-{number}")
        self.image_id = image_id
        self.superseded = False
        """Whether it was marked failed while its processes went on: nobody clears such a run."""
        self.rolled_back = False
        """Whether its rollback went well and closed the journal."""
        self.clears = 0
        """How often a person cleared what failed of it."""
        self.replace = replace
        self._abandon = abandon
        self._failure: BaseException | None = None
        self._others = others

    def start(self) -> Process:
        """Begin the run."""
        return self._start("run", self._main())

    def cleared(self) -> Process:
        """Go on after a person cleared what failed."""
        self.alive = True
        self.clears += 1
        self._world.actions.begins(self.owner)
        return self._start("run", self._main())

    def end(self, *, kill: bool) -> None:
        """Mark it failed in the UI.

        :param kill: whether its processes end with that; else they go on, which nobody sees.
        """
        self.alive = False
        self.superseded = not kill
        self._world.actions.ends(self.owner)
        for process in self.processes:
            if kill:
                self._agenda.kill(process)
            else:
                process.stands_still = self._world.chance.choice([1.0, 130.0, 400.0, 900.0])

    def _main(self) -> Turns:
        if self._failure is None:
            try:
                yield from self._deploy()
                return
            except FAILURES as error:
                if not self.alive or self._world.unforeseen:
                    raise
                self._failure = error
        self._world.say(f"{self.owner} failed: {str(self._failure)[:160]}")
        if self._leaves_it():
            self.alive = False
            self._world.actions.ends(self.owner)
            self._world.say(f"a person ends {self.owner} before it is rolled back")
        else:
            yield from self._roll_back(str(self._failure) or "a task died; its log ends")
        raise self._failure

    def _leaves_it(self) -> bool:
        plan = self._world.plan
        return not self._world.calm and self._world.chance.random() < plan.leaves_failures

    def _deploy(self) -> Turns:
        yield from self._task("begin", self._begin)
        yield from self._task("apply", self._apply)
        yield from self._beside({name: self._fleet(name) for name in self._world.truths})
        yield from self._task("release", self._release)
        yield from self._task("close", self._close)

    def _fleet(self, name: str) -> Turns:
        result: Any = None
        for task in program(self.deployment.fleet(name)):
            arguments = {"fleet": name, "wave": task.wave}
            what = f"{name} {task.step} {task.wave}"
            if task.mapped:
                yield from self._mapped(what, task, arguments, result)
            elif task.step == "proceed":
                yield from self._task(what, partial(self._proceed, name, task))
            else:
                result = yield from self._step_task(what, task.step, arguments)

    def _proceed(self, name: str, task: Task) -> Turns:
        """Go on, as the operator does where nobody asked for a pause; or do as a person wants who does."""
        yield 0.0
        self.deployment.ledger.going(back=False).read()
        if self._world.pause:
            yield from self._paused(name, task)
        if self._world.abort:
            self._world.abort = False
            raise AbortedError(f"fleet {name}: somebody aborted the rollout after wave {task.wave}")

    def _paused(self, name: str, task: Task) -> Turns:
        """Stand until a person who was asked says go on."""
        ends = self._world.aws.clock.now() + self._world.pause
        self._world.pause = 0.0
        observer = Observer(self._step("proceed", {"fleet": name, "wave": task.wave}))
        waits = pauses()
        while self._world.aws.clock.now() < ends:
            observer.look()
            yield next(waits)
        self._world.say(f"a person goes on with {name} after wave {task.wave}")

    def _mapped(self, what: str, task: Task, arguments: Mapping[str, Any], chunks: list[list[str]]) -> Turns:
        yield from self._beside(
            {
                f"{what} {number}": self._step_task(
                    f"{what} {number}", task.step, {**arguments, task.mapped: ids}
                )
                for number, ids in enumerate(chunks)
            }
        )

    def _step(self, kind: str, arguments: Mapping[str, Any]) -> Step:
        if kind == "begin":
            return Begin(self.deployment.ledger, self.deployment.name, alive=self._is_alive)
        return super()._step(kind, arguments)

    def _is_alive(self, owner: str) -> bool:
        return any(run.owner == owner and run.alive for run in self._others)

    def _begin(self) -> Turns:
        yield from self._until_done("begin", {})
        clients, ledger, name = self.deployment.clients, self.deployment.ledger, self.deployment.name
        bucket = self.deployment.environment.state_bucket
        if key := release.finish_earlier(clients, ledger, bucket):
            self._world.say(f"{self.owner} begin: finish the record {key}")
        if self._abandon:
            for line in rollback.abandon(clients, ledger, name):
                self._world.say(f"{self.owner} begin: {line}")
        rollback.insist_on_none(ledger, name)
        self._record()
        self.deployment.remember_fleets(self._outputs())
        self._world.actions.begins(self.owner)

    def _apply(self) -> Turns:
        yield 0.0
        ledger, clients = self.deployment.ledger, self.deployment.clients
        ledger.going(back=False).update(
            lambda journal: journal.model_copy(
                update={"image_id": self.image_id, "apply_epoch": journal.epoch}
            )
        )
        for name in self._world.truths:
            self._terraform(name)
        self._record(applied=True)
        begin.retain_abandoned(clients, ledger, self.deployment.environment.fleets)
        yield 0.0

    def _record(self, *, applied: bool = False) -> None:
        deployment = self.deployment
        begin.record_fleets(
            deployment.clients,
            deployment.ledger,
            self._outputs(),
            deployment.environment.fleets,
            applied=applied,
            replace=self.replace,
        )
        for name, record in deployment.ledger.read().fleets.items():
            truth = self._world.truths[name]
            if record.replaces and not truth.replaced:
                truth.targets += 1
            truth.replaced = set(record.replaces or ())

    def _terraform(self, name: str) -> None:
        """Point a group at the image, as Terraform's apply does: it has a lock of its own."""
        truth, world = self._world.truths[name], self._world
        moving = MOVING.get(world.fleets[name].shape)
        pinned = moving is not None and truth.group.template.version != moving
        if truth.launches == self.image_id and not pinned:
            return
        truth.targets += 1
        world.say(f"{self.owner} apply: {name}: {truth.launches} -> {self.image_id}")
        version = world.new_version(name, self.image_id)
        world.aws.templates.defaults[template_id(name)] = int(version)
        world.plain_client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=name, **world.launches(name, version)
        )

    def _outputs(self) -> dict[str, FleetOutput]:
        return {
            name: FleetOutput(
                autoscaling_group=name,
                launch_template_id=template_id(name),
                termination_hook=HOOK,
                drain_document=f"drain-{name}",
            )
            for name in self._world.truths
        }

    def _release(self) -> Turns:
        yield 0.0
        deployment = self.deployment
        ledger, bucket = deployment.ledger.going(back=False), deployment.environment.state_bucket
        release.release(deployment.clients, ledger, bucket, {"fleets": {}})

    def _close(self) -> Turns:
        yield 0.0
        begin.close(self.deployment.ledger)

    def _roll_back(self, cause: str) -> Turns:
        """Run the group of tasks that stands behind all tasks that may fail."""
        found = yield from self._task("rollback begin", lambda: self._begin_rollback(cause))
        if found is None:
            return
        for truth in self._world.truths.values():
            truth.replaced = set()  # what still serves is good again
        yield from self._beside({f"{name} back": self._back(name) for name in found["fleets"]})
        yield from self._task("rollback close", self._end_rollback)

    def _begin_rollback(self, cause: str) -> Turns:
        deployment = self.deployment
        step = rollback.BeginRollback(
            deployment.clients, deployment.ledger, deployment.name, cause=lambda: cause
        )
        _, result = yield from self._advance("rollback begin", step)
        return result

    def _back(self, name: str) -> Turns:
        arguments = {"fleet": name, "wave": BACK_WAVE}
        chunks = yield from self._step_task(f"{name} restore", "restore", arguments)
        if chunks is None:
            return
        yield from self._mapped(
            f"{name} drain back", Task("drain", BACK_WAVE, "instance_ids"), arguments, chunks
        )
        yield from self._step_task(f"{name} verify_restored", "verify_restored", arguments)

    def _end_rollback(self) -> Turns:
        yield 0.0
        deployment = self.deployment
        said = rollback.end(deployment.clients, deployment.ledger, deployment.environment.state_bucket)
        self._world.say(f"{self.owner} rollback: {said}")
        self.rolled_back = self._world.journal is None
