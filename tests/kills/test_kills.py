"""`kill -9` of whatever runs, at whatever it does: the end is the same, and nothing is left over."""

from __future__ import annotations

from tests.end_to_end.checkout import WORKER
from tests.kills.conftest import AWAITED, DRAINED, SERVICES, Outcome

TASKS = (
    "layers.bake_application",
    "terraform.plan",
    "terraform.apply",
    "web.wave_1.scale_out",
    "web.wave_1.retire",
    "web.wave_1.drain",
)
WHILE_WAITING = {f"{name} during {task}" for name in SERVICES for task in (AWAITED, DRAINED)}
VERSIONS = 3


def test_each_was_killed_in_the_middle_of_its_work(outcome: Outcome) -> None:
    found = {each.what: each for each in outcome.kills.killed}
    assert found.keys() == {*TASKS, *WHILE_WAITING}
    assert {found[one].state for one in WHILE_WAITING} == {"deferred"}
    assert [each for each in found.values() if each.state not in {"running", "deferred"}] == []
    assert all(found[task].count > 1 for task in TASKS), found


def test_runs_end_green_by_themselves_or_by_another_run(outcome: Outcome) -> None:
    green = dict.fromkeys(("first deployment", "retried", "begun anew"), "success")
    assert outcome.kills.outcomes == green, "\n".join(outcome.said)


def test_the_fleets_are_as_after_a_deployment_that_nobody_disturbed(outcome: Outcome) -> None:
    web, worker = outcome.account().instances(), outcome.account(WORKER).instances()
    assert [each.healthy for each in web] == [True, True]
    assert [each.healthy for each in worker] == [True]
    assert len({each.image_id for each in (*web, *worker)}) == 1
    assert set.union(*outcome.versions.values()) == {outcome.kills.version}


def test_nothing_is_left_over_in_the_account(outcome: Outcome) -> None:
    before, after = dict(outcome.before), dict(outcome.after)
    assert before.pop("images") == {"base": 1, "application_base": 1, "application": 1}
    assert after.pop("images") == {"base": 1, "application_base": 1, "application": VERSIONS}
    assert after == before
    assert before["instances"] == {"development-web": 2, f"development-{WORKER}": 1}
    for kind in ("key pairs", "security groups of bakes", "held"):
        assert before[kind] == [], kind


def test_nothing_is_left_over_on_the_machine(outcome: Outcome) -> None:
    assert outcome.after["tools"] == []
    assert outcome.after["folders"] == []


def test_no_request_and_no_log_line_is_lost(outcome: Outcome) -> None:
    assert outcome.failures == ()
    assert outcome.lines.equal, outcome.lines
    assert outcome.lines.written > 0
