"""Random rollouts keep the invariants: known schedules here, new ones by `make chaos`."""

from __future__ import annotations

import pytest

from tools.chaos import __main__ as command
from tools.chaos.plan import Plan, draw
from tools.chaos.schedule import play

SCHEDULES = 300
#: The same ones each time, as about one new schedule in two hundred still finds something
#: (docs/reliability.md).
SEED = 1


@pytest.mark.timeout(3600)
def test_random_schedules_keep_every_invariant(capfd):
    status = command.main(["--schedules", str(SCHEDULES), "--seed", str(SEED), "--processes", "1"])
    said = capfd.readouterr().out
    assert status == 0, said
    assert said.splitlines()[-1] == f"{SCHEDULES} schedules, 0 violations"


def test_a_schedule_is_the_same_each_time():
    first, second = play(11), play(11)
    assert first.calls > 100
    assert first.story == second.story


@pytest.mark.parametrize("size", [1, 7])
def test_a_calm_rollout_replaces_every_instance(size):
    outcome = play(1, lambda plan: Plan(seed=1, size=size, minimum=size, maximum=size))
    assert outcome.violation == ""
    assert outcome.runs == 1


def test_seeds_draw_many_kinds_of_schedules():
    plans = [draw(seed) for seed in range(300)]
    assert {plan.size for plan in plans} > {1, 2, 3}
    assert max(plan.size for plan in plans) > 50
    assert {len(plan.waves) for plan in plans} == {1, 2, 3, 4}
    assert any(plan.calm for plan in plans)
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
