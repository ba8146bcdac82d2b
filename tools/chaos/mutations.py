"""Breaks the guard of each invariant on purpose, one at a time, and sees that the chaos run catches it.

`make mutations SCHEDULES=n SEED=s`: the status tells whether every broken guard was caught within so many.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from bakeroll.core.rollout import capacity, fleet, journal, lifecycle_actions
from bakeroll.core.rollout.drains import receipts
from bakeroll.core.rollout.rollback import begin as back
from bakeroll.core.rollout.rollback.step import BackStep
from bakeroll.core.rollout.waves import await_capacity, raising, retire, settle
from bakeroll.core.steps import Done, Wait
from tools.chaos.plan import Plan
from tools.chaos.schedule import play


@dataclass(frozen=True)
class Mutation:
    """One guard that is broken.

    :ivar invariant: the number of the one that it guards.
    :ivar owner: the module or class that has the guard.
    :ivar guard: its name there; one that is not there is an error.
    :ivar broken: what stands there instead.
    :ivar change: makes more of what the guard is for, where few schedules have it.
    """

    invariant: int
    what: str
    owner: Any
    guard: str
    broken: Any
    change: Callable[[Plan], Plan] = lambda plan: plan

    def applied(self) -> AbstractContextManager[Any]:
        """Break it for a while.

        :raises AttributeError: if there is no such guard any more.
        """
        getattr(self.owner, self.guard)
        return patch.object(self.owner, self.guard, self.broken)


def policies_at_work(plan: Plan) -> Plan:
    """Let a policy scale out often, and answers be lost."""
    return replace(plan, disturb=0.05, kinds=("scale_out",), kill=max(plan.kill, 0.005), disaster=0.0)


def whoever(_step: settle.Settle, picture: fleet.Fleet) -> Wait | Done:
    """Wait for protection to be taken back, and for no health."""
    protected = any(one.protected for one in picture.current) and not picture.new_instances_protected
    return Wait("protection") if protected else Done("whoever serves", {})


def sick_meanwhile(plan: Plan) -> Plan:
    """Let machines stop while instances are drained."""
    return replace(
        plan, disturb=0.05, kinds=("crash", "terminate_directly"), command_seconds=45.0, disaster=0.0
    )


def keep_minimum(now: fleet.Fleet, before: journal.Before, surge: journal.Surge | None) -> tuple[int, int]:
    """Give the maximum back only."""
    return now.minimum, max(now.minimum, capacity.sizes_after(now, before, surge)[1])


def intend(
    step: retire.Retire,
    record: journal.FleetRecord,
    surge: journal.Surge,
    names: list[str],
    *,
    lowers: bool,
) -> None:
    """Note who is to go, but not among those that were retired."""
    sizes = {"minimum": surge.minimum - len(names), "previous": surge.minimum} if lowers else {}
    changed = surge.model_copy(update={"retiring": (*surge.retiring, *names), **sizes})
    step._change(surge, {"surge": changed, "retired": record.retired})  # noqa: SLF001


def take_over(ledger: journal.Ledger, epoch: int) -> journal.Journal:
    """Take a journal over without a new epoch."""
    found = ledger.peek()
    if found is None:
        return ledger.open()
    taken = found.model_copy(update={"owner": ledger.owner, "epoch": epoch})
    ledger._write(taken, ledger._read()[1])  # type: ignore[index]  # noqa: SLF001
    return taken


def deadline(ledger: journal.Ledger, name: str, step: str, seconds: float) -> float:
    """Begin a deadline again whenever it is asked for."""
    ends = ledger.now() + seconds
    record = ledger.update_fleet(
        name, lambda record: record.model_copy(update={"deadlines": {**record.deadlines, step: ends}})
    )
    return record.deadlines[step]


MUTATIONS = (
    Mutation(1, "retire whoever serves", capacity, "staying", lambda *_: 10**6),
    Mutation(1, "count no target group", fleet, "_target_groups", lambda _: ()),
    Mutation(2, "hold new instances for old ones", fleet.Fleet, "old", property(lambda self: self.counted)),
    Mutation(3, "believe every receipt", receipts.Receipt, "empty", property(lambda _self: True)),
    Mutation(3, "send no heartbeats", lifecycle_actions, "heartbeat", lambda *_: None),
    Mutation(4, "give no size back", settle, "sizes_after", lambda now, *_: (now.minimum, now.maximum)),
    Mutation(4, "overwrite what people set", raising, "set_by_others", lambda _now, before, _surge: before),
    Mutation(
        4, "count as ours what a policy added", raising, "shifted", lambda *_: None, change=policies_at_work
    ),
    Mutation(4, "never give the minimum back", settle, "sizes_after", keep_minimum),
    Mutation(5, "ask nobody who holds the journal", journal.Ledger, "_insist", lambda *_: None),
    Mutation(5, "take over in the same epoch", journal.Ledger, "take_over", take_over),
    Mutation(6, "terminate what no journal names", retire.Retire, "_intend", intend),
    Mutation(6, "begin each deadline again", journal.Ledger, "deadline", deadline),
    Mutation(6, "forget what was raised already", capacity, "surge_left", lambda *_: 0),
    Mutation(7, "verify whoever serves", settle.Settle, "_wait_for", whoever, change=sick_meanwhile),
    Mutation(7, "go back to whatever is launched", BackStep, "_check_target", lambda *_: None),
    Mutation(7, "go back to nothing", back, "target_of", lambda *_: None),
    Mutation(7, "say nothing of why", await_capacity.AwaitCapacity, "_too_late", lambda *_: "failed"),
)


def main(arguments: list[str] | None = None) -> int:
    """Break one guard after the other and print which schedule caught it."""
    parser = argparse.ArgumentParser(prog="make mutations", description=__doc__)
    parser.add_argument("--schedules", type=int, default=300, help="how many a mutation is given at the most")
    parser.add_argument("--seed", type=int, help="of the first; a new one unless given")
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(10**9) if given.seed is None else given.seed
    sys.stdout.write(f"{len(MUTATIONS)} mutations, up to {given.schedules} schedules each from seed {seed}\n")
    missed = 0
    for mutation in MUTATIONS:
        found = caught(mutation, range(seed, seed + given.schedules))
        missed += found is None
        told = f"caught by schedule {found[0]}: {found[1][:90]}" if found else "NOT CAUGHT"
        sys.stdout.write(f"invariant {mutation.invariant}  {mutation.what:36} {told}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(MUTATIONS)} mutations, {missed} not caught\n")
    return 1 if missed else 0


def caught(mutation: Mutation, seeds: range, on: Callable[..., Any] = play) -> tuple[int, str] | None:
    """Return how many schedules it took to see the broken guard, and what was seen; None if none did.

    A schedule that fails with the guard in its place as well has not seen it broken.
    """
    for number, seed in enumerate(seeds, start=1):
        with mutation.applied():
            outcome = on(seed, mutation.change)
        if outcome.violation and not on(seed, mutation.change).violation:
            return number, f"{outcome.number}: {outcome.violation}"
    return None


if __name__ == "__main__":
    sys.exit(main())
