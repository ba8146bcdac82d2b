"""Simulated rollouts under random faults: `make chaos SCHEDULES=n SEED=s`.

Each schedule is drawn from a seed of its own, the first from SEED, the next from SEED + 1 and so on: one
that fails is played again alone, call by call the same, with its seed and SCHEDULES=1.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import time

from tools.chaos.many import outcomes
from tools.chaos.schedule import Outcome

TOLD_STORIES = 10
STORY_LINES = 6


def main(arguments: list[str] | None = None) -> int:
    """Play the schedules; the status tells whether all invariants held."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--schedules", type=int, default=300, help="how many to play")
    parser.add_argument("--seed", type=int, help="of the first; a new one unless given")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="how many beside each other"
    )
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(10**9) if given.seed is None else given.seed
    say(f"{given.schedules} schedules from seed {seed}")
    began, violations, done, calls = time.monotonic(), 0, 0, 0
    said = began
    for outcome in outcomes(range(seed, seed + given.schedules), given.processes):
        done, calls = done + 1, calls + outcome.calls
        if outcome.violation:
            violations += 1
            tell(outcome, lines=_story_lines(given.schedules, violations))
        if time.monotonic() - said > 5:
            said = time.monotonic()
            say(f"{done} of {given.schedules}, {done / (said - began):.1f} a second, {violations} violations")
    seconds = time.monotonic() - began
    say(f"{calls} calls checked in {seconds:.0f} s, {done / seconds:.1f} schedules a second")
    say(f"{done} schedules, {violations} violations")
    return 1 if violations else 0


def _story_lines(schedules: int, violations: int) -> int:
    """Return how much of a story is told: the whole of one that was asked for alone, none after many."""
    if schedules == 1:
        return sys.maxsize
    return STORY_LINES if violations <= TOLD_STORIES else 0


def tell(outcome: Outcome, *, lines: int) -> None:
    """Print what does not hold, and how to see it again.

    :param lines: how many of the story's last lines.
    """
    what = f"invariant {outcome.number}" if outcome.number else "an unforeseen error"
    say(f"seed {outcome.seed}: {what}: {outcome.violation}")
    for line in outcome.story[max(0, len(outcome.story) - lines) :]:
        say(f"    {line}")
    say(f"    again: make chaos SEED={outcome.seed} SCHEDULES=1")


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
