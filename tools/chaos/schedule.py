"""One schedule from its seed to its end: runs, people who start and end them, and the verdict."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.errors import BakerollError
from bakeroll.core.layers import images
from sandbox.direct import Call
from tools.chaos.agenda import Agenda, Process
from tools.chaos.disasters import Disasters
from tools.chaos.others import Others
from tools.chaos.outside import OutsideDrains
from tools.chaos.plan import Plan, draw
from tools.chaos.runs import Run
from tools.chaos.truth import ViolationError
from tools.chaos.world import ENVIRONMENT, KilledError, World

LONGEST_RUN_SECONDS = 12 * 3600.0
MOST_RUNS = 8
MOST_CLEARS = 3
"""How often a person clears one run: of one that is rolled back that does nothing more."""
CALM_RUNS = 8
"""How many runs may still fail after the last fault: what it left may be told of once, each."""


@dataclass
class Outcome:
    """What became of a schedule.

    :ivar violation: what does not hold; empty if all does.
    :ivar number: the invariant's number; 0 for an unforeseen error.
    """

    seed: int
    violation: str = ""
    number: int | None = None
    calls: int = 0
    runs: int = 0
    seconds: float = 0.0
    story: list[str] = field(default_factory=list)
    call_names: list[str] = field(default_factory=list)


class Schedule:
    """Plays one plan."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.world = World(plan, folder)
        self.runs: list[Run] = []
        self._chance = Random(f"schedule {plan.seed}")  # noqa: S311  # repeatable, not secret
        self._agenda = Agenda(self.world.aws.clock, Random(plan.seed), self._become)  # noqa: S311
        self._process: Process | None = None
        self._outside = OutsideDrains(self.world, self._agenda)
        self._red_since_calm = 0
        self._served_first = next(iter(self.world.truths.values())).launches
        """The image that ran when the journal was opened last."""
        self._replace = plan.replace
        self._wanted = self._serves if plan.replace else self.world.new_image(bad=plan.bad_image)

    def play(self) -> Outcome:
        """Run it all."""
        outcome = Outcome(self.plan.seed)
        began = self.world.aws.clock.now()
        try:
            self._begin_faults()
            self._play()
        except ViolationError as violation:
            outcome.violation, outcome.number = violation.text, violation.number
        except Exception as error:  # noqa: BLE001  # an error that nobody foresaw is a finding as well
            outcome.violation = (
                f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error)[-4:])}"
            )
            outcome.number = 0
        outcome.calls, outcome.runs = self.world.calls, len(self.runs)
        outcome.seconds = self.world.aws.clock.now() - began
        outcome.story = self.world.story
        return outcome

    def _become(self, actor: object) -> None:
        self.world.actor = actor  # type: ignore[assignment]

    def _begin_faults(self) -> None:
        world, plan = self.world, self.plan
        self._watch_outside()
        if plan.calm:
            return
        for setting in plan.call_faults:
            # What others do succeeds, or the checks would not know what to expect.
            world.aws.faults.set({**setting, "principal": "*_chaos/*"})
        others = Others(
            world,
            {
                "new_version": self._release,
                "end_run": lambda: self._end_run(True),
                "end_run_zombie": lambda: self._end_run(False),
                "goes_bad": self._spoil,
                "abort": self._abort,
            },
        )
        disasters = Disasters(world, self._pause)

        def disturb() -> None:
            if plan.drains_outside:
                self._outside.maybe()
            if world.calls >= plan.calls:
                self._calm_down()
            else:
                others.maybe()
                disasters.maybe()

        world.disturb = disturb
        if plan.kill:
            world.kill = lambda _call, _when: self._chance.random() < plan.kill / 2

    def _calm_down(self) -> None:
        if not self.world.calm:
            self.world.calm_down()
            if self.world.is_bad(self._serves):
                # It got sick once it was verified, and is released: so nothing could be gone back to.
                self.world.mend(self._serves)
                self.world.say(f"{self._serves}, which is released, is well again")
            self._watch_outside()

    def _watch_outside(self) -> None:
        """Let the other DAG run beside the rollouts."""
        if self.plan.drains_outside:
            self.world.disturb = self._outside.maybe

    def _play(self) -> None:
        while True:
            run = self._next_run()
            try:
                self._finish(run)
            except (BakerollError, ClientError, BotoCoreError, KilledError) as error:
                self._judge_red(run, error)
                if self._goes_on(run):
                    continue
                return
            self.world.invariants.ended(run.owner, self.world.last_journal, image_id=run.image_id)
            self._insist_on_tag(run.image_id, images.RELEASED)
            for truth in self.world.truths.values():
                truth.replaced = set()
            if self.world.calm or run.image_id == self._wanted:
                return

    @property
    def _serves(self) -> str:
        """The image that served before whatever is deployed now."""
        return self.world.released or self._served_first

    def _next_run(self) -> Run:
        if self.runs and not self.world.calm and len(self.runs) >= MOST_RUNS:
            self._calm_down()
        last = self.runs[-1] if self.runs else None
        if last and last.image_id == self._wanted and not last.superseded and self._cleared_by_person(last):
            self.world.say(f"a person clears what failed in {last.owner}")
            self._process = last.cleared()
            return last
        run = Run(
            self.world,
            self._agenda,
            len(self.runs) + 1,
            self._wanted,
            self.runs,
            replace=self._replace,
            abandon=self._abandons(),
        )
        self.runs.append(run)
        self.world.say(f"{run.owner} begins")
        self._process = run.start()
        return run

    def _goes_on(self, _last: Run) -> bool:
        """Tell whether anybody begins another run after one that is red."""
        return True

    def _cleared_by_person(self, last: Run) -> bool:
        """Tell whether a person clears what failed, rather than beginning another run."""
        return self._chance.random() < 0.4 and last.clears < MOST_CLEARS

    def _abandons(self) -> bool:
        """Tell whether a person gives an unfinished rollback up and deploys in its place."""
        journal = self.world.journal
        return bool(journal and journal["rollback"]) and self._chance.random() < 0.2

    def _finish(self, run: Run) -> None:
        process = self._process
        if process is None:
            raise RuntimeError("no run was begun")
        try:
            self._agenda.run(
                lambda: process.over or run.superseded or bool(self.world.unforeseen), LONGEST_RUN_SECONDS
            )
        except TimeoutError as error:
            raise ViolationError(6, f"{run.owner} is {error}") from error
        finally:
            if self.world.unforeseen:
                raise self.world.unforeseen[0]
        if run.superseded:
            raise KilledError
        run.alive = False
        process.outcome()

    def _judge_red(self, run: Run, error: BaseException) -> None:
        self.world.say(f"{run.owner} is red: {type(error).__name__}: {error}")
        self.world.actions.ends(run.owner)
        run.alive = False
        if isinstance(error, BakerollError):
            self.world.invariants.red(error)
        if run.rolled_back:
            self.world.invariants.ended(run.owner, self.world.last_journal, image_id=self._serves)
            self._insist_on_rejection(self.world.last_journal)
            self._after_rollback()
        if self.world.calm:
            self._red_since_calm += 1
            if self._red_since_calm > CALM_RUNS:
                raise ViolationError(6, f"without any fault runs still fail: {error}")
        if "SSM agent" in str(error):
            self._end_held()
        if any(word in str(error) for word in ("health", "in service", "did not finish its rollback")):
            self._mend()
        # Somebody looks at it some time later.
        self.world.aws.clock.advance(self._chance.choice([1.0, 70.0, 600.0]))

    def _insist_on_rejection(self, journal: dict[str, Any] | None) -> None:
        """Check that what was tried and failed is not deployed again by itself."""
        rollback = (journal or {}).get("rollback") or {}
        if journal and rollback.get("reject"):
            self._insist_on_tag(journal["image_id"], images.REJECTED)
        elif journal and journal["image_id"] not in {None, self._serves} and self._was_tried(journal):
            raise ViolationError(7, f"{journal['image_id']} was tried and is not rejected")

    def _was_tried(self, journal: dict[str, Any]) -> bool:
        return any(fleet["retired"] or fleet["exposure"] for fleet in journal["fleets"].values())

    def _insist_on_tag(self, image_id: str, wanted: str) -> None:
        found = self.world.aws.ec2.image_tags[image_id].get(f"bakeroll:{ENVIRONMENT}")
        if found != wanted:
            raise ViolationError(7, f"{image_id} is tagged {found} and not {wanted}")

    def _end_held(self) -> None:
        """Let a person end machines that no agent will ever answer for."""
        members = [one for truth in self.world.truths.values() for one in truth.group.members.values()]
        for member in members:
            state = self.world.aws.account.instances.get(member.instance_id).state
            if member.actions and state in {"stopping", "stopped"}:
                self.world.say(f"a person ends {member.instance_id}, which has stopped")
                self.world.plain_client("ec2").terminate_instances(InstanceIds=[member.instance_id])

    def _mend(self) -> None:
        """Let a person make a version that works, if this one does not."""
        if self.world.is_bad(self._wanted):
            self._wanted = self.world.new_image()

    def _after_rollback(self) -> None:
        """Let a person deploy a mended version, or the rejected one again because it was not to blame."""
        if self.world.is_bad(self._wanted) or (not self._replace and self._chance.random() < 0.5):
            self._wanted = self.world.new_image()
            self._replace = False

    def _spoil(self) -> None:
        if self._wanted != self._serves:
            self.world.make_bad(self._wanted)
            self.world.say(f"others: {self._wanted} gets sick")

    def _abort(self) -> None:
        self.world.abort = True
        self.world.say("others: a person will abort at the next pause")

    def _pause(self, seconds: float) -> None:
        self.world.pause = seconds

    def _release(self) -> None:
        self._wanted, self._replace = self.world.new_image(), False
        self.world.say(f"others: a new commit: the next run deploys {self._wanted}")

    def _end_run(self, kill: bool) -> None:
        run = self.runs[-1]
        if not run.alive:
            return
        self.world.say(f"others: {run.owner} is marked failed, its processes {'end' if kill else 'go on'}")
        run.end(kill=kill)


def play(seed: int, change: Callable[[Plan], Plan] = lambda plan: plan) -> Outcome:
    """Play the schedule of a seed.

    :param change: changes what was drawn.
    """
    with tempfile.TemporaryDirectory(prefix="bakeroll-chaos-") as folder:
        return Schedule(change(draw(seed)), Path(folder)).play()


__all__ = ["Call", "Outcome", "Schedule", "play"]
