"""Suspended processes.

Auto Scaling user guide, "Suspend and resume Amazon EC2 Auto Scaling processes" and "How suspended processes
affect other processes".
"""

from __future__ import annotations

from collections import Counter

import pytest


def suspend(world, *processes):
    world.on_web("SuspendProcesses", ScalingProcesses=list(processes))


def resume(world, *processes):
    world.on_web("ResumeProcesses", ScalingProcesses=list(processes))


def desired(world, number):
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=number)


def unbalance(world):
    """Two instances in zone a, the group in zones a and b."""
    world.create(desired=2, VPCZoneIdentifier="subnet-a")
    world.update(VPCZoneIdentifier="subnet-a,subnet-b")


def zones(world):
    return Counter(each["AvailabilityZone"][-1] for each in world.instances())


def test_az_rebalance_launches_before_it_terminates(world):
    """AWS: 'Launches new instances before terminating the previous ones'."""
    unbalance(world)
    most = 0
    for _ in range(200):
        world.advance(1)
        most = max(most, len(world.ids("InService")))
        assert len(world.ids("InService")) >= 2
    assert most == 3
    assert zones(world) == {"a": 1, "b": 1}
    assert world.group()["DesiredCapacity"] == 2


def test_az_rebalance_suspended_and_resumed(world):
    world.create(desired=2, VPCZoneIdentifier="subnet-a")
    suspend(world, "AZRebalance")
    world.update(VPCZoneIdentifier="subnet-a,subnet-b")
    world.advance(600)
    assert zones(world) == {"a": 2}
    resume(world, "AZRebalance")
    world.until(lambda: zones(world) == {"a": 1, "b": 1})


def test_az_rebalance_leaves_protected_instances(world):
    world.create(desired=2, VPCZoneIdentifier="subnet-a", NewInstancesProtectedFromScaleIn=True)
    world.update(VPCZoneIdentifier="subnet-a,subnet-b")
    world.advance(600)
    assert zones(world) == {"a": 2}
    assert len(world.activities()) == 2


def test_launch_suspended(world):
    world.create(desired=1)
    suspend(world, "Launch")
    desired(world, 3)
    world.advance(300)
    assert len(world.ids()) == 1
    resume(world, "Launch")
    world.until(lambda: world.states() == ["InService"] * 3)


def test_terminate_suspended_holds_scale_in_but_not_a_named_termination(world):
    world.create(desired=3)
    suspend(world, "Terminate")
    desired(world, 2)
    world.advance(300)
    assert len(world.ids()) == 3
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=3)
    victim = world.ids()[0]
    world.terminate(victim)
    world.until(lambda: world.state(victim) is None)
    desired(world, 1)
    world.advance(60)
    assert len(world.ids()) == 2
    resume(world, "Terminate")
    world.until(lambda: len(world.ids()) == 1)


def test_add_to_load_balancer_suspended_is_not_made_up_for(world):
    """AWS: 'When you resume, the instances launched meanwhile are not added'."""
    arn = world.target_group()
    world.create(desired=1, TargetGroupARNs=[arn])
    suspend(world, "AddToLoadBalancer")
    desired(world, 2)
    world.until(lambda: world.states() == ["InService"] * 2)
    assert len(world.account.targets.health(arn)) == 1
    resume(world, "AddToLoadBalancer")
    world.advance(60)
    assert len(world.account.targets.health(arn)) == 1


@pytest.mark.parametrize("process", ["HealthCheck", "ReplaceUnhealthy", "Terminate"])
def test_unhealthy_instances_wait_for_the_process(world, process):
    world.create(desired=1)
    suspend(world, process)
    [instance_id] = world.ids()
    world.hypervisor.crash(instance_id)
    world.advance(300)
    assert world.state(instance_id) == "InService"
    assert world.instances()[0]["HealthStatus"] == ("Healthy" if process == "HealthCheck" else "Unhealthy")
    resume(world, process)
    world.until(lambda: world.state(instance_id) is None and world.states() == ["InService"])


def test_suspended_processes_are_described(world):
    world.create(desired=0)
    suspend(world, "AZRebalance")
    [process] = world.group()["SuspendedProcesses"]
    assert process["ProcessName"] == "AZRebalance"
    assert process["SuspensionReason"].startswith("User suspended at 2026-")
    suspend(world)
    assert len(world.group()["SuspendedProcesses"]) == 9
    resume(world)
    assert world.group()["SuspendedProcesses"] == []
    refusal = world.refused("SuspendProcesses", AutoScalingGroupName="web", ScalingProcesses=["Sleep"])
    assert refusal.code == "ValidationError"
