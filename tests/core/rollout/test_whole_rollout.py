"""A whole rollout on virtual machines: what holds at every step and what is left at the end."""

from __future__ import annotations

import pytest

from tests.core.rollout.harness import wired_world, world


@pytest.mark.parametrize(
    ("size", "make"),
    [(1, world), (2, world), (9, world), (2, wired_world)],  # on both, as they are to behave the same
)
def test_every_instance_is_replaced_drained_and_capacity_given_back(size, make):
    w = make(size, maximum=size)
    old = {one.instance_id for one in w.picture().instances}
    w.release()
    ended = w.roll()
    after = w.picture()
    assert {one["instance_id"] for one in ended["drained"]} == old
    assert all(one["bytes_after"] == 0 for one in ended["drained"])
    assert len(after.current) == size
    assert not after.old
    assert (after.minimum, after.maximum, after.desired) == (size, size, size)
    assert not after.new_instances_protected
    assert not any(one.protected for one in after.instances)
    assert not after.suspended
    assert w.record().surge is None
    assert w.lowest_ready == size


def test_nothing_to_do_changes_nothing():
    w = world(3)
    before = w.picture()
    ended = w.roll()
    assert ended["drained"] == []
    assert w.picture() == before
    assert w.log == [
        "all 3 instances of web are current; nothing to raise",
        "3 of 3 new instances in service and healthy",
        "no old instance to retire",
        "all 3 instances of web are current and healthy",
    ]


def test_same_content_in_a_new_version_is_current():
    w = world(2)
    w.release(w.made.image_id)
    assert len(w.picture().current) == 2


def test_suspended_by_others_stays_suspended():
    w = world(2)
    w.clients.autoscaling.suspend_processes(
        AutoScalingGroupName="web", ScalingProcesses=["AZRebalance", "ScheduledActions"]
    )
    w.release()
    w.roll()
    assert w.picture().suspended == {"AZRebalance", "ScheduledActions"}


def test_capacity_that_somebody_adds_meanwhile_is_kept():
    w = world(2, maximum=10)

    def add(w):
        if any("MinSize 2 -> 4" in line for line in w.log) and "added" not in w.log:
            w.log.append("added")
            w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=6)

    w.on_pass = add
    w.release()
    w.roll()
    after = w.picture()
    assert (after.desired, len(after.current), after.minimum, after.maximum) == (4, 4, 2, 10)


def test_sizes_that_a_person_sets_meanwhile_stay():
    w = world(2, maximum=10)

    def change(w):
        if any(line.startswith("2 old instances retired") for line in w.log) and "changed" not in w.log:
            w.log.append("changed")
            w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1, MaxSize=20)

    w.on_pass = change
    w.release()
    w.roll()
    assert (w.picture().minimum, w.picture().maximum) == (1, 20)
