"""Minimum, maximum and desired capacity.

API reference, UpdateAutoScalingGroup, SetDesiredCapacity, TerminateInstanceInAutoScalingGroup; Auto Scaling
user guide, "Set scaling limits for your Auto Scaling group" and "Verify a scaling activity".
"""

from __future__ import annotations

import pytest

from sandbox.model.ports import LaunchError


def test_minimum_above_desired_raises_desired(world):
    world.create(desired=2)
    world.update(MinSize=4)
    assert world.group()["DesiredCapacity"] == 4
    world.until(lambda: world.states() == ["InService"] * 4)


def test_minimum_below_desired_leaves_it(world):
    world.create(desired=4, MinSize=4)
    world.update(MinSize=2)
    assert world.group()["DesiredCapacity"] == 4
    world.advance(120)
    assert world.states() == ["InService"] * 4


def test_maximum_below_desired_lowers_desired(world):
    world.create(desired=4)
    world.update(MaxSize=3)
    assert world.group()["DesiredCapacity"] == 3
    world.until(lambda: world.states() == ["InService"] * 3)


def test_one_call_surges_and_protects(world):
    """Raised minimum, maximum and scale-in protection of what is launched from then on, in one call."""
    old = {each["InstanceId"] for each in world.create(desired=2, MaxSize=2)}
    world.update(MinSize=4, MaxSize=4, NewInstancesProtectedFromScaleIn=True)
    world.until(lambda: world.states() == ["InService"] * 4)
    protected = {each["InstanceId"] for each in world.instances() if each["ProtectedFromScaleIn"]}
    assert protected == set(world.ids()) - old


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"MinSize": 5, "MaxSize": 3}, "Max bound, 3, must be greater than or equal to min bound, 5"),
        (
            {"DesiredCapacity": 101},
            "Desired capacity:101 must be between the specified min size:0 and max size:100",
        ),
        (
            {"MinSize": 3, "DesiredCapacity": 2},
            "Desired capacity:2 must be between the specified min size:3 and max size:100",
        ),
    ],
)
def test_limits_that_make_no_sense_change_nothing(world, params, message):
    world.create(desired=1)
    before = world.group()
    refusal = world.refused(
        "UpdateAutoScalingGroup", AutoScalingGroupName="web", NewInstancesProtectedFromScaleIn=True, **params
    )
    assert (refusal.code, refusal.message) == ("ValidationError", message)
    assert world.group() == before


def test_set_desired_capacity_keeps_to_the_limits(world):
    world.create(desired=2, MinSize=1, MaxSize=3)
    above = world.refused("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=4)
    assert above.message == "New SetDesiredCapacity value 4 is above max value 3 for the AutoScalingGroup."
    below = world.refused("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=0)
    assert below.message == "New SetDesiredCapacity value 0 is below min value 1 for the AutoScalingGroup."


def test_terminate_with_decrement_shrinks_the_group(world):
    world.create(desired=3)
    victim = world.ids()[0]
    activity = world.terminate(victim, decrement=True)
    assert activity["Description"] == f"Terminating EC2 instance: {victim}"
    assert "shrinking the capacity from 3 to 2" in activity["Cause"]
    world.until(lambda: world.state(victim) is None)
    world.advance(60)
    assert world.states() == ["InService"] * 2


def test_terminate_without_decrement_is_replaced(world):
    world.create(desired=2)
    victim = world.ids()[0]
    world.terminate(victim, decrement=False)
    world.until(lambda: world.state(victim) is None and world.states() == ["InService"] * 2)
    assert world.group()["DesiredCapacity"] == 2


def test_decrement_below_the_minimum_is_refused(world):
    world.create(desired=2, MinSize=2)
    refusal = world.refused(
        "TerminateInstanceInAutoScalingGroup",
        InstanceId=world.ids()[0],
        ShouldDecrementDesiredCapacity=True,
    )
    assert refusal.message == (
        "Currently, desiredSize equals minSize (2). Terminating instance without replacement will violate "
        "group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower "
        "group's min size."
    )
    assert world.states() == ["InService"] * 2


def test_terminating_twice_or_a_stranger_is_refused(world):
    world.create(desired=2)
    world.hook()
    victim = world.ids()[0]
    world.terminate(victim)
    again = world.refused(
        "TerminateInstanceInAutoScalingGroup", InstanceId=victim, ShouldDecrementDesiredCapacity=True
    )
    assert again.code == "ScalingActivityInProgress"
    assert world.group()["DesiredCapacity"] == 1
    stranger = world.refused(
        "TerminateInstanceInAutoScalingGroup", InstanceId="i-0", ShouldDecrementDesiredCapacity=True
    )
    assert stranger.message == "Instance Id not found - No managed instance found for instance ID: i-0"


def test_activities_tell_who_changed_what(world):
    world.create(desired=1)
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=2)
    world.advance(2)
    newest = world.activities()[0]
    assert newest["Description"].startswith("Launching a new EC2 instance: i-")
    assert (
        "a user request explicitly set group desired capacity changing the desired capacity from 1 to 2."
        in newest["Cause"]
    )
    assert (
        "an instance was started in response to a difference between desired and actual capacity, "
        "increasing the capacity from 1 to 2." in newest["Cause"]
    )


def test_a_refused_launch_is_told_and_tried_again(world):
    world.records.refusals = [LaunchError("InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist")]
    world.create(desired=2, settle=False)
    world.advance(2)
    [failed] = world.activities()
    assert failed["StatusCode"] == "Failed"
    assert failed["StatusMessage"] == (
        "The image id '[ami-1]' does not exist. Launching EC2 instance failed."
    )
    [event] = world.bus.of("EC2 Instance Launch Unsuccessful")
    assert event.detail["StatusCode"] == "Failed"
    assert world.until(lambda: world.states() == ["InService"] * 2) > 10


def test_another_zone_is_tried_when_one_is_full(world):
    world.records.full_zones = {"ap-northeast-1a"}
    world.create(desired=4)
    assert {each["AvailabilityZone"] for each in world.instances()} == {"ap-northeast-1b"}


def test_retries_slow_down(world):
    world.records.full_zones = {"ap-northeast-1a", "ap-northeast-1b"}
    world.create(desired=1, settle=False)
    world.advance(1000)
    failed = [each for each in world.activities() if each["StatusCode"] == "Failed"]
    assert 8 <= len(failed) <= 20
    assert "sufficient t3.micro capacity" in failed[0]["StatusMessage"]


def test_delete_needs_an_empty_group_or_force(world):
    world.create(desired=2)
    world.hook()
    assert world.refused("DeleteAutoScalingGroup", AutoScalingGroupName="web").code == "ResourceInUse"
    ids = world.ids()
    world.call("DeleteAutoScalingGroup", AutoScalingGroupName="web", ForceDelete=True)
    assert world.group()["Status"] == "Delete in progress"
    world.until(lambda: world.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == [])
    assert {world.account.instances.get(each).state for each in ids} == {"terminated"}
    assert world.bus.of("EC2 Instance-terminate Lifecycle Action") == []


def test_delete_waits_for_ending_instances(world):
    world.create(desired=1)
    world.hook()
    world.update(MinSize=0, MaxSize=0)
    world.until(lambda: world.states() == ["Terminating:Wait"])
    refusal = world.refused("DeleteAutoScalingGroup", AutoScalingGroupName="web")
    assert refusal.code == "ScalingActivityInProgress"
    world.complete(world.ids()[0], "CONTINUE")
    world.until(lambda: world.ids() == [])
    world.call("DeleteAutoScalingGroup", AutoScalingGroupName="web")
    assert world.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == []
