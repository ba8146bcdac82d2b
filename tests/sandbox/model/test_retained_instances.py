"""Instances that stay after an abandoned termination.

Auto Scaling user guide, "Control instance retention with instance lifecycle policies" and "Manage retained
instances".
"""

from __future__ import annotations

import pytest

RETAIN = {"RetentionTriggers": {"TerminateHookAbandon": "retain"}}


@pytest.fixture
def retained(world):
    world.create(desired=2, InstanceLifecyclePolicy=RETAIN)
    world.hook(HeartbeatTimeout=60, DefaultResult="ABANDON")
    instance_id = world.ids()[0]
    world.terminate(instance_id, decrement=False)
    world.until(lambda: world.state(instance_id) == "Terminating:Wait")
    world.advance(61)
    return world, instance_id


def test_timeout_with_default_abandon_retains(retained):
    world, instance_id = retained
    assert world.state(instance_id) == "Terminating:Retained"
    assert world.account.instances.get(instance_id).state == "running"


def test_retained_instances_do_not_count(retained):
    world, instance_id = retained
    world.until(lambda: world.states() == ["InService", "InService", "Terminating:Retained"])
    world.advance(7200)
    assert world.state(instance_id) == "Terminating:Retained"
    assert world.group()["DesiredCapacity"] == 2


def test_a_retained_instance_ends_by_name_without_hooks(retained):
    world, instance_id = retained
    events = len(world.bus.of("EC2 Instance-terminate Lifecycle Action"))
    world.terminate(instance_id, decrement=False)
    world.until(lambda: world.state(instance_id) is None)
    assert len(world.bus.of("EC2 Instance-terminate Lifecycle Action")) == events


def test_explicit_abandon_retains_and_continue_does_not(world):
    world.create(desired=2, InstanceLifecyclePolicy=RETAIN)
    world.hook()
    one, two = world.ids()
    world.terminate(one)
    world.terminate(two)
    world.until(lambda: world.states() == ["Terminating:Wait"] * 2)
    world.complete(one, "ABANDON")
    world.complete(two, "CONTINUE")
    assert world.state(one) == "Terminating:Retained"
    world.until(lambda: world.ids() == [one])


def test_the_policy_can_be_set_and_taken_back_by_update(world):
    world.create(desired=0)
    assert "InstanceLifecyclePolicy" not in world.group()
    world.update(InstanceLifecyclePolicy=RETAIN)
    assert world.group()["InstanceLifecyclePolicy"] == RETAIN
    world.update(InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "terminate"}})
    assert (
        world.group()["InstanceLifecyclePolicy"]["RetentionTriggers"]["TerminateHookAbandon"] == "terminate"
    )


def test_decrement_is_refused_for_what_does_not_count(retained):
    world, instance_id = retained
    refusal = world.refused(
        "TerminateInstanceInAutoScalingGroup", InstanceId=instance_id, ShouldDecrementDesiredCapacity=True
    )
    assert "not modelled by the sandbox" in refusal.message
