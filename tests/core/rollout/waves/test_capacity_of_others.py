"""Capacity that others change just before ours is raised, or take from what we raised."""

from __future__ import annotations

import pytest

from bakeroll.core.rollout.waves import AwaitCapacity, ScaleOut
from tests.core.rollout.harness import world


def once(w, text, act):
    """Do something once after a line of the log says it."""
    done = []

    def on_pass(w):
        if not done and any(text in line for line in w.log):
            done.append(True)
            act()

    w.on_pass = on_pass


@pytest.mark.parametrize("by", [1, 2])
def test_capacity_that_a_policy_adds_between_intent_and_raise_is_kept(by):
    w = world(2, maximum=8)
    scale = w.clients.autoscaling.set_desired_capacity
    once(w, "note the intent", lambda: scale(AutoScalingGroupName="web", DesiredCapacity=2 + by))
    w.release()
    w.roll()
    after = w.picture()
    assert (after.desired, len(after.current), after.minimum) == (2 + by, 2 + by, 2)


def test_sizes_that_a_person_sets_between_intent_and_raise_are_given_back():
    w = world(2, maximum=4)
    update = w.clients.autoscaling.update_auto_scaling_group
    once(w, "note the intent", lambda: update(AutoScalingGroupName="web", MinSize=1, MaxSize=5))
    w.release()
    w.roll()
    assert (w.picture().minimum, w.picture().maximum) == (1, 5)


def test_a_minimum_of_somebody_takes_no_more_of_the_surge_than_it_needs():
    w = world(4, maximum=12)
    update = w.clients.autoscaling.update_auto_scaling_group
    once(w, "terminate ", lambda: update(AutoScalingGroupName="web", MinSize=5))
    w.release()
    w.roll()
    after = w.picture()
    assert (after.desired, after.minimum, len(after.old)) == (5, 5, 0)


def test_a_raise_that_was_put_back_by_hand_is_not_made_on_top_of_itself():
    w = world(2, maximum=8)
    update = w.clients.autoscaling.update_auto_scaling_group
    once(w, "raise web", lambda: update(AutoScalingGroupName="web", MinSize=2))
    w.release()
    w.run(w.step(ScaleOut))
    assert (w.picture().desired, w.picture().minimum) == (4, 4)


@pytest.mark.parametrize("protected", [False, True])
def test_a_raise_whose_minimum_somebody_lowered_is_not_made_on_top_of_itself(protected):
    w = world(2, maximum=8, group={"NewInstancesProtectedFromScaleIn": protected})
    update = w.clients.autoscaling.update_auto_scaling_group
    once(w, "raise web", lambda: update(AutoScalingGroupName="web", MinSize=1))
    w.release()
    w.run(w.step(ScaleOut))
    assert (w.picture().desired, w.picture().minimum) == (4, 4)
    w.roll()
    assert (w.picture().desired, w.picture().minimum) == (2, 1)


def test_a_maximum_that_somebody_sets_to_our_number_is_theirs_though_less_is_raised_then():
    w = world(2, maximum=2)
    image_id = w.release()
    update = w.clients.autoscaling.update_auto_scaling_group

    def change() -> None:
        update(AutoScalingGroupName="web", MaxSize=4)
        w.floor = 0
        w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=w.picture().old[0].instance_id, ShouldDecrementDesiredCapacity=False
        )
        w.settle()

    once(w, "note the intent", change)
    w.roll()
    after = w.picture()
    assert (after.image_id, len(after.current), after.maximum) == (image_id, 2, 4)


def test_a_raise_whose_sizes_two_others_changed_since_is_not_made_on_top_of_itself():
    """Our call protects new instances as well: that tells that it was done, whatever the sizes say."""
    w = world(2, maximum=8)
    autoscaling = w.clients.autoscaling

    def change() -> None:
        autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=1)
        autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=5)

    once(w, "raise web", change)
    w.release()
    w.run(w.step(ScaleOut))
    assert w.picture().desired == 5  # two, two of ours and the one of theirs
    w.roll()
    after = w.picture()
    assert (after.desired, len(after.current), after.minimum) == (3, 3, 1)


def test_an_old_instance_whose_place_a_policy_took_is_terminated_all_the_same():
    w = world(2, maximum=8)
    autoscaling = w.clients.autoscaling

    def scale_in():
        left = [one.instance_id for one in w.picture().old]
        autoscaling.set_instance_protection(
            AutoScalingGroupName="web", InstanceIds=left, ProtectedFromScaleIn=True
        )
        autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=2)

    once(w, "terminate ", scale_in)
    w.release()
    w.roll()
    after = w.picture()
    assert (after.old, after.desired, after.minimum) == ((), 2, 2)


def test_a_raise_that_is_not_needed_any_more_keeps_what_it_was_added_to():
    """A person sets the minimum to 0 meanwhile: it is raised for as many as are ours, and never below 0."""
    w = world(2, maximum=12)
    image_id = w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.release()
    step = w.step(ScaleOut)
    while w.record().surge.minimum == 4:
        step.look().perform()
    w.release(image_id)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=0)
    w.settle()
    w.run(w.step(ScaleOut))
    assert w.picture().minimum == 4
    w.roll()
    after = w.picture()
    assert (after.image_id, len(after.current), after.desired, after.minimum) == (image_id, 2, 2, 0)
