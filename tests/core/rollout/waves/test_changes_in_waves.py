"""What others change between waves, and instances that fail there."""

from __future__ import annotations

import pytest

from tests.core.rollout.harness import world

WAVES = ("1", "100%")


def update(w, **changes):
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", **changes)
    w.settle()


def test_sizes_that_a_person_sets_between_waves_stay():
    w = world(2, maximum=2, waves=WAVES)
    w.release()
    w.roll_wave(1)
    update(w, MinSize=1, MaxSize=20)
    w.roll()
    after = w.picture()
    assert (after.minimum, after.maximum, after.desired, len(after.current)) == (1, 20, 2, 2)


def test_protection_and_processes_that_a_person_ends_between_waves_stay_ended():
    w = world(2, maximum=4, waves=WAVES)
    update(w, NewInstancesProtectedFromScaleIn=True)
    w.clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AZRebalance"])
    w.release()
    w.roll_wave(1)
    update(w, NewInstancesProtectedFromScaleIn=False)
    w.clients.autoscaling.resume_processes(AutoScalingGroupName="web", ScalingProcesses=["AZRebalance"])
    w.roll()
    after = w.picture()
    assert not after.new_instances_protected
    assert not after.suspended


@pytest.mark.parametrize("which", ["old", "current"])
def test_an_instance_that_dies_between_waves_is_replaced_by_a_new_one(which):
    w = world(3, maximum=3, waves=WAVES)
    w.release()
    w.roll_wave(1)
    dying = getattr(w.picture(), which)[0].instance_id
    w.floor = 0  # it is not us who take it
    w.clients.ec2.terminate_instances(InstanceIds=[dying])
    w.settle()
    w.floor = 3
    w.roll()
    after = w.picture()
    assert (after.minimum, after.maximum) == (3, max(3, after.desired))
    assert not after.old
    # What AWS launched in its place is new already, so the second wave raises by one instance fewer.
    assert after.desired == 3
    assert len(after.current) == after.desired
    assert dying not in w.record().retired
