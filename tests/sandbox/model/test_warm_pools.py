"""Warm pools, against what AWS documents of them."""

from __future__ import annotations

from collections import Counter

import pytest


def pool(world):
    return world.on_web("DescribeWarmPool")["Instances"]


def warm(world):
    return Counter(each["LifecycleState"] for each in pool(world))


def put(world, **params):
    world.on_web("PutWarmPool", **params)


@pytest.fixture
def filled(world):
    world.create(desired=2, MaxSize=5)
    put(world)
    world.until(lambda: warm(world) == {"Warmed:Stopped": 3})
    return world


def test_the_pool_holds_what_is_missing_to_the_maximum(filled):
    group = filled.group()
    assert group["WarmPoolConfiguration"] == {"MinSize": 0, "PoolState": "Stopped"}
    assert group["WarmPoolSize"] == 3
    assert len(group["Instances"]) == group["DesiredCapacity"] == 2
    states = [filled.account.instances.get(each["InstanceId"]).state for each in pool(filled)]
    assert states == ["stopped"] * 3


def test_an_instance_on_its_way_into_the_pool_passes_the_launch_hooks(world):
    world.create(desired=1, MaxSize=2)
    world.hook("ready", "LAUNCHING")
    put(world)
    world.until(lambda: warm(world) == {"Warmed:Pending:Wait": 1})
    (event,) = world.bus.of("EC2 Instance-launch Lifecycle Action")
    assert (event.detail["Origin"], event.detail["Destination"]) == ("EC2", "WarmPool")
    world.complete(pool(world)[0]["InstanceId"], "CONTINUE", name="ready")
    world.until(lambda: warm(world) == {"Warmed:Stopped": 1})


def test_scaling_out_takes_from_the_pool_with_the_version_that_it_was_launched_from(filled):
    filled.publish("ami-2")
    waiting = {each["InstanceId"] for each in pool(filled)}
    filled.update(DesiredCapacity=4)
    filled.until(lambda: filled.states() == ["InService"] * 4)
    came = [each for each in filled.instances() if each["InstanceId"] in waiting]
    assert len(came) == 2
    assert {each["ImageId"] for each in filled.instances()} == {"ami-1"}
    assert {each["LaunchTemplate"]["Version"] for each in came} == {"1"}
    assert any("from warm pool" in each["Description"] for each in filled.activities())
    filled.advance(120)
    assert warm(filled) == {"Warmed:Stopped": 1}


def test_it_passes_the_launch_hooks_again_on_its_way_into_service(filled):
    filled.hook("ready", "LAUNCHING")
    filled.update(DesiredCapacity=3)
    filled.until(lambda: "Pending:Wait" in filled.states())
    (event,) = filled.bus.of("EC2 Instance-launch Lifecycle Action")
    assert (event.detail["Origin"], event.detail["Destination"]) == ("WarmPool", "AutoScalingGroup")


def test_an_empty_pool_is_no_hindrance(filled):
    filled.update(MaxSize=9, DesiredCapacity=9)
    filled.until(lambda: filled.states() == ["InService"] * 9)
    assert pool(filled) == []


def test_a_running_pool_serves_at_once(world):
    world.create(desired=1, MaxSize=3)
    put(world, PoolState="Running", MaxGroupPreparedCapacity=2, MinSize=0)
    world.until(lambda: warm(world) == {"Warmed:Running": 1})
    world.update(DesiredCapacity=2)
    seconds = world.until(lambda: world.states() == ["InService"] * 2)
    assert seconds < 5
    assert world.group()["WarmPoolConfiguration"]["MaxGroupPreparedCapacity"] == 2


def test_a_lower_maximum_shrinks_the_pool_through_the_hooks(filled):
    filled.hook("drain", "TERMINATING")
    filled.update(MaxSize=4)
    filled.until(lambda: "Warmed:Terminating:Wait" in warm(filled))
    held = next(each for each in pool(filled) if each["LifecycleState"] == "Warmed:Terminating:Wait")
    filled.complete(held["InstanceId"], "CONTINUE")
    filled.until(lambda: warm(filled) == {"Warmed:Stopped": 2})


@pytest.mark.parametrize("force", [True, False])
def test_a_pool_is_deleted_with_what_waits_in_it(filled, force):
    filled.on_web("DeleteWarmPool", ForceDelete=force)
    assert filled.group()["WarmPoolConfiguration"]["Status"] == "PendingDelete"
    filled.until(lambda: pool(filled) == [])
    assert "WarmPoolConfiguration" not in filled.group()
    assert filled.states() == ["InService"] * 2


def test_an_instance_in_the_pool_is_replaced_when_it_is_gone(filled):
    lost = pool(filled)[0]["InstanceId"]
    with filled.account.lock:
        filled.account.instances.terminate(lost, "Server.InternalError: gone")
    filled.until(
        lambda: (
            lost not in {each["InstanceId"] for each in pool(filled)}
            and warm(filled) == {"Warmed:Stopped": 3}
        )
    )


def test_a_group_with_a_pool_is_deleted_by_force_only(filled):
    assert filled.refused("DeleteAutoScalingGroup", AutoScalingGroupName="web").code == "ResourceInUse"
    filled.on_web("DeleteAutoScalingGroup", ForceDelete=True)
    filled.until(lambda: filled.account.groups.find("web") is None)


@pytest.mark.parametrize(
    "params",
    [
        {"PoolState": "Hibernated"},
        {"InstanceReusePolicy": {"ReuseOnScaleIn": True}},
    ],
)
def test_what_is_not_modelled_is_refused(world, params):
    world.create(desired=1)
    refusal = world.refused("PutWarmPool", AutoScalingGroupName="web", **params)
    assert refusal.message.endswith("is not modelled by the sandbox.")
    assert "WarmPoolConfiguration" not in world.group()
