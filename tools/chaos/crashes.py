"""Fixed rollouts, cut off before and after each of their calls, and with each answer lost, in turn.

One goes forward in two waves. The other goes through a gate, cannot drain what it retired in the first wave,
is aborted after it, and goes back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sandbox.direct import Call
from tools.chaos.plan import FleetPlan, Plan
from tools.chaos.runs import Run
from tools.chaos.schedule import Outcome, Schedule

FORWARD = Plan(
    seed=7,
    fleets=(FleetPlan(size=2, minimum=1, maximum=2, waves=("1", "100%")),),
    latency_seconds=0.05,
    attempts=1,
    boot_seconds=1.0,
    interval_seconds=5.0,
    deregistration_seconds=0.0,
    command_seconds=20.0,
)
BACK = replace(FORWARD, fleets=(replace(FORWARD.fleets[0], soak_seconds=10),))
READS = ("Describe", "Get", "List")


@dataclass(frozen=True)
class Cut:
    """Where it is cut off, and how it goes on.

    :ivar call: the call, counted from 1.
    :ivar when: ``before`` it, ``after`` it, or ``lost``: it is done, the answer does not come.
    :ivar resume: by Airflow's retry, or by a new run after the whole run was ended.
    """

    call: int
    when: Literal["before", "after", "lost"]
    resume: Literal["retry", "new run"]


class CutSchedule(Schedule):
    """A calm schedule with one cut; none if there is none.

    :param plan: :data:`FORWARD` or :data:`BACK`.
    """

    def __init__(self, cut: Cut | None, folder: Path, plan: Plan) -> None:
        super().__init__(plan, folder)
        self.names: list[str] = []
        self.cut_off = False
        self._cut = cut
        self._back = plan is BACK
        self._end = self._serves if self._back else self._wanted
        self.world.kill = self._kill
        self.world.lose = self._lose
        if self._back:
            self._spoil_drains()

    def _spoil_drains(self) -> None:
        """Let nothing be drained of the instances that there are."""
        hypervisor = self.world.aws.hypervisor
        for truth in self.world.truths.values():
            for one in truth.group.members:
                hypervisor.instances[one] = replace(
                    hypervisor.behaviour(one),
                    answer=lambda instance_id, _script: self.world.drain_answer(instance_id, "fails"),
                )

    def _next_run(self) -> Run:
        self.world.abort = self._back
        return super()._next_run()

    def _goes_on(self, last: Run) -> bool:
        return not (self._back and last.rolled_back)

    def play(self) -> Outcome:
        """Run it all, and see that it comes to the end to which it comes without a cut."""
        outcome = super().play()
        launched = {truth.launches for truth in self.world.truths.values()}
        if not outcome.violation and launched != {self._end}:
            outcome.violation = f"it ends with {launched} and not with {self._end}"
        return outcome

    def _kill(self, call: Call, when: str) -> bool:
        if when == "before":
            self.names.append(f"{call.service}:{call.operation}")
        return self._cut_off_here(when)

    def _lose(self, _call: Call) -> bool:
        return self._cut_off_here("lost")

    def _cut_off_here(self, when: str) -> bool:
        if not self._here(when):
            return False
        if self._cut and self._cut.resume == "new run":
            self.runs[-1].end(kill=True)
        return True

    def _here(self, when: str) -> bool:
        cut = self._cut
        if cut is None or self.cut_off or cut.when != when or len(self.names) != cut.call:
            return False
        self.cut_off = True
        return True

    def _cleared_by_person(self, _last: Run) -> bool:
        return False


def play(cut: Cut | None, plan: Plan = FORWARD) -> tuple[Outcome, list[str], bool]:
    """Play a rollout with a cut.

    :return: what became of it, the calls that were made, and whether it was cut off.
    """
    with tempfile.TemporaryDirectory(prefix="bakeroll-cut-") as folder:
        schedule = CutSchedule(cut, Path(folder), plan)
        outcome = schedule.play()
        return outcome, schedule.names, schedule.cut_off


def cuts(names: list[str]) -> Iterator[Cut]:
    """Return every cut of a rollout that makes some calls."""
    for number, name in enumerate(names, start=1):
        yield Cut(number, "before", "retry")
        yield Cut(number, "after", "retry")
        yield Cut(number, "before", "new run")
        yield Cut(number, "after", "new run")
        if not name.partition(":")[2].startswith(READS):
            yield Cut(number, "lost", "retry")
            yield Cut(number, "lost", "new run")
