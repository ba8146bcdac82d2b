"""Where Spinnaker fails."""

from __future__ import annotations

import pytest

from tests.failures_of_others.support import (
    SICK,
    AwaitCapacity,
    CapacityError,
    FleetError,
    KilledError,
    ScaleOut,
    close,
    peer,
    rollbacks,
)


def below_desired():
    """Make a fleet that a policy has scaled out: 4 instances, 1 at the least."""
    w = peer(4, minimum=1, maximum=6)
    before = w.group()
    return w, before


def is_given_back(w, before):
    """See that nothing of a group is other than before, and that a policy can scale in again."""
    after = w.group()
    for name in ("MinSize", "MaxSize", "DesiredCapacity", "NewInstancesProtectedFromScaleIn"):
        assert after[name] == before[name], name
    assert after["SuspendedProcesses"] == []
    serving = [one for one in after["Instances"] if one["LifecycleState"] == "InService"]
    assert [one["ProtectedFromScaleIn"] for one in serving] == 4 * [False]
    w.scale_to(1)
    w.settle(600)
    assert len(w.ids()) == 1


def test_a_pinned_minimum_is_unpinned_after_a_failure():
    """spinnaker/spinnaker #4812: a deployment that fails leaves the minimum pinned to what was desired."""
    w, before = below_desired()
    w.release(check=SICK)
    w.run(w.step(ScaleOut))
    assert w.sizes() == (8, 8, 8)
    with pytest.raises(CapacityError):
        w.run(w.step(AwaitCapacity))
    rollbacks.roll_back(w)
    is_given_back(w, before)


@pytest.mark.parametrize("operation", ["UpdateAutoScalingGroup", "TerminateInstanceInAutoScalingGroup"])
def test_a_minimum_that_a_terminated_run_has_pinned_is_unpinned_by_the_next(operation):
    """spinnaker/spinnaker #4812: a pipeline that is terminated unpins nothing, nor does a later one."""
    w, before = below_desired()
    w.release()
    w.dies_at(operation)
    with pytest.raises(KilledError):
        w.roll()
    with pytest.raises(FleetError, match="capacity of web is still raised"):
        close(w.ledger)
    w.roll(w.next_run())
    is_given_back(w, before)
