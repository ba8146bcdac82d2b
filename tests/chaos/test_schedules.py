"""Random rollouts keep the invariants: new schedules each time, and those that found something once."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from unittest.mock import patch

import pytest

from bakeroll.core.rollout import capacity
from tools.chaos import __main__ as command
from tools.chaos.plan import DISASTERS, LATER_SHAPES, SHAPES, FleetPlan, Plan, draw, first_drawn
from tools.chaos.schedule import play

SCHEDULES, PARTS = 300, 6
FOUND_ONCE = (
    187, 233, 2123, 7046, 7132, 20067, 50035, 50471, 50777, 50927, 911032, 911062, 911106,
    14, 129, 1169, 2117, 2379, 2384, 2494, 5025, 1200017, 1200588, 1200766, 1201746,
    1403500, 1403964, 743771226, 743771287, 985155053, 654387676,
    654388950, 934568928, 934569261, 934569898, 934570149, 934571952,
    228297480, 228300114, 228302259, 19232603, 19233481,
    687891186, 687892985, 687898740, 687900990, 687902656, 687912559, 687918449, 687921489, 687925847,
)  # fmt: skip
"""Seeds that found something once, with the schedules that were drawn from them then."""
FOUND_WITH_DISASTERS = (
    35691, 90032, 90119, 90245, 269469551, 269472976, 269476243, 590362930,
    590382998, 590393487, 590407277, 590430905, 590435417,
    590449116, 590449862, 185192020, 185215827, 185228974,
    185242331, 185245663, 185264591, 185285856,
)  # fmt: skip
"""Those that found something since disasters are drawn as well."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_schedules_keep_every_invariant(part):  # beside each other
    """A failure names its seed: `make chaos SEED=… SCHEDULES=1` plays it again, call by call the same."""
    first = secrets.randbelow(10**9)
    seeds = range(first, first + SCHEDULES // PARTS)
    found = {seed: outcome.violation for seed in seeds if (outcome := play(seed)).violation}
    assert found == {}


@pytest.mark.timeout(1200)
def test_schedules_that_found_something_once_find_nothing_any_more():
    outcomes = {seed: play(seed, lambda plan: first_drawn(plan.seed)) for seed in FOUND_ONCE}
    outcomes |= {seed: play(seed) for seed in FOUND_WITH_DISASTERS}
    assert {seed: outcome.violation for seed, outcome in outcomes.items() if outcome.violation} == {}


def test_the_command_tells_of_each_violation(capfd):
    with patch.object(capacity, "surge_left", lambda *_: 0):
        status = command.main(["--schedules", "3", "--seed", "11", "--processes", "1"])
    said = capfd.readouterr().out
    assert status == 1
    assert "again: make chaos SEED=" in said
    assert said.splitlines()[-1].startswith("3 schedules, ")
    assert not said.splitlines()[-1].endswith(" 0 violations")


def test_the_command_plays_in_several_processes():
    """Run as `make chaos` does: new processes import what they play, and cannot import a main module."""
    asked = ["-m", "tools.chaos", "--schedules", "2", "--seed", "11", "--processes", "2"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, *asked], capture_output=True, text=True, timeout=200, check=True, env=env
    )
    assert done.stdout.splitlines()[-1] == "2 schedules, 0 violations"


def test_a_schedule_is_the_same_each_time():
    first, second = play(11), play(11)
    assert first.calls > 100
    assert first.story == second.story


@pytest.mark.parametrize("size", [1, 7])
def test_a_calm_rollout_replaces_every_instance(size):
    fleet = FleetPlan(size=size, minimum=size, maximum=size)
    outcome = play(1, lambda _: Plan(seed=1, fleets=(fleet,)))
    assert outcome.violation == ""
    assert outcome.runs == 1


def test_seeds_draw_many_kinds_of_schedules():
    plans = [draw(seed) for seed in range(300)]
    fleets = [fleet for plan in plans for fleet in plan.fleets]
    assert {fleet.size for fleet in fleets} > {1, 2, 3}
    assert max(fleet.size for fleet in fleets) > 50
    assert {len(fleet.waves) for fleet in fleets} == {1, 2, 3, 4}
    assert {fleet.shape for fleet in fleets} == {*SHAPES, *LATER_SHAPES}
    assert {fleet.soak_seconds > 0 for fleet in fleets} == {True, False}
    assert {len(plan.fleets) for plan in plans} == {1, 2}
    assert {plan.replace for plan in plans} == {plan.drains_outside for plan in plans} == {True, False}
    assert any(plan.calm for plan in plans)
    assert {kind for plan in plans if plan.disaster for kind in plan.disasters} == set(DISASTERS)
    assert {kind for plan in plans for kind in plan.kinds} > {"scale_out", "crash", "end_run_zombie"}
    assert {fault["fault"] for plan in plans for fault in plan.call_faults} == {
        "throttle",
        "error",
        "unavailable",
        "lost",
        "dropped",
        "slow",
        "stale",
    }
