"""Hooks, heartbeats and timeouts.

Auto Scaling user guide, "Considerations and limitations for lifecycle hooks", "Complete a lifecycle action";
API reference, PutLifecycleHook, RecordLifecycleActionHeartbeat, DeleteLifecycleHook.
"""

from __future__ import annotations

import pytest


@pytest.fixture
def waiting(world):
    """One instance in Terminating:Wait at a hook with a heartbeat timeout of 60 s and default CONTINUE."""
    world.create(desired=1)
    world.hook(HeartbeatTimeout=60, DefaultResult="CONTINUE", NotificationMetadata="web/5m")
    [instance_id] = world.ids()
    world.terminate(instance_id)
    world.until(lambda: world.state(instance_id) == "Terminating:Wait")
    return world, instance_id


def test_heartbeat_timeout_applies_the_default_result(waiting):
    world, instance_id = waiting
    world.advance(59)
    assert world.state(instance_id) == "Terminating:Wait"
    world.advance(2)
    assert world.state(instance_id) == "Terminating:Proceed"


def test_heartbeat_restarts_the_timeout(waiting):
    world, instance_id = waiting
    for _ in range(3):
        world.advance(50)
        world.on_web("RecordLifecycleActionHeartbeat", LifecycleHookName="drain", InstanceId=instance_id)
    world.advance(59)
    assert world.state(instance_id) == "Terminating:Wait"
    world.advance(2)
    assert world.state(instance_id) == "Terminating:Proceed"


def test_global_timeout_is_one_hundred_heartbeats(waiting):
    world, instance_id = waiting
    [hook] = world.on_web("DescribeLifecycleHooks")["LifecycleHooks"]
    assert hook["GlobalTimeout"] == 6000
    start = world.clock.now()
    while world.state(instance_id) == "Terminating:Wait":
        world.on_web("RecordLifecycleActionHeartbeat", LifecycleHookName="drain", InstanceId=instance_id)
        world.advance(50)
    assert 5950 <= world.clock.now() - start <= 6050


def test_global_timeout_is_at_most_48_hours(world):
    world.create(desired=0)
    world.hook(HeartbeatTimeout=7200)
    [hook] = world.on_web("DescribeLifecycleHooks")["LifecycleHooks"]
    assert hook["GlobalTimeout"] == 172800
    assert hook["DefaultResult"] == "ABANDON"


def test_the_event_carries_what_completes_the_action(waiting):
    """Event reference, "Scale-in lifecycle action"."""
    world, instance_id = waiting
    [event] = world.bus.of("EC2 Instance-terminate Lifecycle Action")
    assert event.source == "aws.autoscaling"
    assert event.resources == (world.group()["AutoScalingGroupARN"],)
    token = event.detail["LifecycleActionToken"]
    assert event.detail == {
        "LifecycleActionToken": token,
        "AutoScalingGroupName": "web",
        "LifecycleHookName": "drain",
        "EC2InstanceId": instance_id,
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        "NotificationMetadata": "web/5m",
        "Origin": "AutoScalingGroup",
        "Destination": "EC2",
    }
    world.on_web(
        "CompleteLifecycleAction",
        LifecycleHookName="drain",
        LifecycleActionToken=token,
        LifecycleActionResult="CONTINUE",
    )
    assert world.state(instance_id) == "Terminating:Proceed"


def test_completing_twice_is_refused(waiting):
    world, instance_id = waiting
    world.complete(instance_id, "CONTINUE")
    refusal = world.refused(
        "CompleteLifecycleAction",
        AutoScalingGroupName="web",
        LifecycleHookName="drain",
        InstanceId=instance_id,
        LifecycleActionResult="CONTINUE",
    )
    assert refusal.code == "ValidationError"
    assert refusal.message == f"No active Lifecycle Action found with instance ID {instance_id}"


@pytest.mark.parametrize("result", ["CONTINUE", "ABANDON"])
def test_without_a_policy_both_results_terminate(waiting, result):
    world, instance_id = waiting
    world.complete(instance_id, result)
    world.until(lambda: world.ids() == [])


def test_all_hooks_must_continue_and_one_abandon_ends_the_others(world):
    """AWS: 'CONTINUE lets the other actions complete, ABANDON stops them'."""
    world.create(desired=2)
    world.hook("first")
    world.hook("second")
    one, two = world.ids()
    for each in (one, two):
        world.terminate(each)
    world.until(lambda: world.states() == ["Terminating:Wait"] * 2)
    world.complete(one, "CONTINUE", "first")
    assert world.state(one) == "Terminating:Wait"
    world.complete(one, "CONTINUE", "second")
    assert world.state(one) == "Terminating:Proceed"
    world.complete(two, "ABANDON", "first")
    assert world.state(two) == "Terminating:Proceed"


def test_launch_abandoned_is_terminated_and_replaced(world):
    world.create(desired=0)
    world.hook("prepare", "LAUNCHING", HeartbeatTimeout=30)
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=1)
    world.until(lambda: world.states() == ["Pending:Wait"])
    [first] = world.ids()
    world.complete(first, "ABANDON", "prepare")
    world.until(lambda: world.ids() not in ([], [first]) and world.state(first) is None)
    world.until(lambda: world.states() == ["Pending:Wait"])
    [second] = world.ids()
    world.complete(second, "CONTINUE", "prepare")
    assert world.states() == ["InService"]


def test_deleting_a_hook_lets_terminating_instances_go_on(waiting):
    """DeleteLifecycleHook: outstanding actions are completed first."""
    world, instance_id = waiting
    world.on_web("DeleteLifecycleHook", LifecycleHookName="drain")
    assert world.state(instance_id) == "Terminating:Proceed"


def test_an_instance_terminated_in_ec2_is_not_held(world):
    """AWS: 'An instance terminated directly in EC2 is not held by any hook'."""
    world.create(desired=1)
    world.hook()
    [instance_id] = world.ids()
    world.account.instances.terminate(instance_id, "Client.UserInitiatedShutdown")
    world.until(lambda: world.state(instance_id) is None)
    assert world.bus.of("EC2 Instance-terminate Lifecycle Action") == []


def test_an_instance_lost_while_it_waits_leaves_the_group(waiting):
    world, instance_id = waiting
    world.account.instances.terminate(instance_id, "Client.UserInitiatedShutdown")
    world.until(lambda: world.state(instance_id) is None)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"HeartbeatTimeout": 10}, "between 30 and 7200"),
        ({"NotificationTargetARN": "arn:aws:sns:x"}, "not modelled by the sandbox"),
        ({"DefaultResult": "RETAIN"}, "CONTINUE, ABANDON"),
    ],
)
def test_hooks_that_make_no_sense_are_refused(world, params, text):
    world.create(desired=0)
    refusal = world.refused(
        "PutLifecycleHook",
        AutoScalingGroupName="web",
        LifecycleHookName="drain",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        **params,
    )
    assert text in refusal.message
