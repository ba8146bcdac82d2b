"""Where palantir/bouncer fails."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.failures_of_others.support import (
    SICK,
    AwaitCapacity,
    CapacityError,
    GateError,
    KilledError,
    Retire,
    ScaleOut,
    Settle,
    peer,
    rollbacks,
)

CANARY = ("1", "100%")


@pytest.mark.parametrize(
    ("dies_at", "heir"),
    [
        ("UpdateAutoScalingGroup", "a new run"),
        ("UpdateAutoScalingGroup", "the same run"),
        ("TerminateInstanceInAutoScalingGroup", "a new run"),
        ("SendCommand", "a new run"),
    ],
)
def test_killed_in_the_middle_of_a_canary_it_resumes_and_does_not_leave_desired_raised(dies_at, heir):
    """palantir/bouncer #57: once it dies with the canary up, nobody takes desired back from 4 to 3."""
    w = peer(3, maximum=4, waves=CANARY)
    old = w.ids()
    w.release()
    w.dies_at(dies_at)
    with pytest.raises(KilledError):
        w.roll()
    w.roll(w.next_run() if heir == "a new run" else None)
    assert w.sizes() == (3, 3, 4)
    assert w.wire.highest == 5, "one for the canary, two for the rest of three"
    w.is_all_of("2", 3)
    assert sorted(w.terminated()) == sorted(old)


def test_a_canary_that_never_serves_does_not_leave_desired_raised_when_time_is_up():
    """palantir/bouncer #57: what fails until the timeout stays desired, and AWS launches it for ever."""
    w = peer(3, maximum=4, waves=CANARY)
    old = w.ids()
    w.release(check=SICK)
    w.run(w.step(ScaleOut))
    assert w.sizes() == (4, 4, 4)
    with pytest.raises(CapacityError, match="only 0 of 1 in service"):
        w.run(w.step(AwaitCapacity))
    rollbacks.roll_back(w)
    assert (w.sizes(), w.ids()) == ((3, 3, 4), old)
    w.settle(3600)
    assert w.ids() == old, "nothing is launched any more"


@pytest.mark.parametrize("when", ["note the intent: 4", "note that capacity is raised", "terminate i-"])
def test_capacity_that_something_else_changed_is_not_overwritten(when):
    """palantir/bouncer, as it ran here: a policy made 6 of 4 in the middle, and it set desired back to 4."""
    w = peer(4, minimum=2, maximum=20)
    w.release()
    w.once(when, lambda: w.scale_to(w.group()["DesiredCapacity"] + 2))
    w.roll()
    assert w.sizes() == (2, 6, 20)
    w.is_all_of("2", 6)
    assert all("DesiredCapacity" not in call for call in w.calls("UpdateAutoScalingGroup"))
    assert w.calls("SetDesiredCapacity") == []


def test_in_service_is_not_taken_for_healthy_behind_the_load_balancer():
    """palantir/bouncer takes InService for serving, and ends old instances while new targets fail."""
    w = peer(3, health="EC2")
    old = w.ids()
    w.release(check=SICK)
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError, match=r"only 0 of 3 in service.*codes: \[500\]"):
        w.run(w.step(AwaitCapacity))
    assert sum(one.in_service for one in w.picture().current) == 3, "as Auto Scaling sees it"
    with pytest.raises(CapacityError, match="only 3 instances are healthy and 3 must be"):
        w.run(w.step(Retire))
    assert w.terminated() == []
    assert old <= w.ids()
    assert w.lowest_ready == 3


def test_old_instances_do_not_go_without_a_pause_in_which_the_new_ones_are_watched():
    """palantir/bouncer #97: old instances end in the moment in which the new ones are up."""
    w = peer(3)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    served = w.aws.clock.now()
    w.run(w.gate(soak="5m"))
    assert w.terminated() == []
    assert w.aws.clock.now() - served >= 300
    w.run(w.step(Retire))
    assert len(w.terminated()) == 3


def test_new_instances_that_fall_sick_after_they_were_up_cost_no_old_one():
    """palantir/bouncer #97: what fails a minute after it was up has no old instance beside it any more."""
    w = peer(3, health="EC2")
    image = w.release(boot_seconds=20.0)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.aws.clock.call_later(60, lambda: setattr(w.aws.hypervisor.images[image], "check", SICK))
    with pytest.raises(GateError, match=r"did not stay healthy.*codes: \[500\]"):
        w.run(w.gate(soak="5m"))
    assert w.terminated() == []
    assert w.lowest_ready == 3


def test_a_look_that_waits_costs_no_more_calls_the_larger_the_fleet():
    """palantir/bouncer asks 1 + 2n times in each look, every 15 s: 121 calls for 60 instances."""
    few, many = looks_that_wait(2), looks_that_wait(60)
    assert max(few) == max(many) <= 9
    assert many.total() < 60, "and looks are few"


def looks_that_wait(size):
    """Roll a fleet; returns how many of the looks that led to nothing cost how many calls.

    Heartbeats are not among them: each instance that is held needs one three times in its hook's timeout.
    """
    w = peer(size)
    w.release()
    found, seen = Counter(), [0, 0]

    def on_pass(_):
        asked = [one for one in w.wire.made if one.operation != "RecordLifecycleActionHeartbeat"]
        if len(w.log) > seen[1] and w.log[-1].startswith("..."):
            found[len(asked) - seen[0]] += 1
        seen[:] = [len(asked), len(w.log)]

    w.run(w.step(ScaleOut))
    w.on_pass = on_pass
    w.run(w.step(AwaitCapacity))
    w.run(w.gate(soak="1m"))
    for ids in w.run(w.step(Retire)):
        w.run(w.drain(ids))
    w.run(w.step(Settle))
    return found


def test_a_whole_rollout_costs_calls_in_proportion_to_the_fleet():
    """palantir/bouncer's 1 + 2n calls a look over n instances, one at a time, are 2n² in the end."""
    totals = {}
    for size in (2, 22, 62):
        w = peer(size)
        w.release()
        w.roll()
        totals[size] = len(w.wire.made)
    for size in (22, 62):
        each = (totals[size] - totals[2]) / (size - 2)
        assert each <= 16, "each instance is ended, and let go, upon a fresh picture of the fleet"
