"""Where deitch/aws-asg-roller fails."""

from __future__ import annotations

import pytest

from tests.failures_of_others.support import KilledError, peer


@pytest.mark.parametrize("who", ["the same run", "new runs"])
@pytest.mark.parametrize("operation", ["PutObject", "UpdateAutoScalingGroup", "DescribeAutoScalingGroups"])
def test_after_restarts_the_raised_desired_is_not_taken_for_the_original(operation, who):
    """aws-asg-roller #37: restarted, it takes the 4 that it raised itself for the original, and makes 5."""
    w = peer(3, maximum=20)
    w.release()
    journal, restarts = None, 0
    while restarts < 5:
        w.dies_at(operation)
        try:
            w.roll(journal)
        except KilledError:
            restarts += 1
            w.settle(40)
            journal = w.next_run(restarts + 1) if who == "new runs" else None
        else:
            break
    assert restarts >= 3
    w.wire.kill = lambda _call: False
    w.roll(journal)
    assert w.wire.highest == 6
    assert w.sizes() == (3, 3, 20)
    w.is_all_of("2", 3)
    assert len(w.terminated()) == 3


def test_after_a_restart_what_an_autoscaler_added_is_kept_and_what_we_raised_is_not():
    """aws-asg-roller #43: with the original in a tag, it takes away what an autoscaler added meanwhile."""
    w = peer(3, maximum=20)
    w.release()
    w.dies_at("UpdateAutoScalingGroup")
    with pytest.raises(KilledError):
        w.roll()
    w.settle(40)
    assert w.sizes() == (6, 6, 20)
    w.scale_to(8)
    w.roll(w.next_run())
    assert w.sizes() == (3, 5, 20)
    w.is_all_of("2", 5)
