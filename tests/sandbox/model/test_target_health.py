"""Targets: registration, health checks, draining.

User guide for Application Load Balancers, "Health checks for Application Load Balancer target groups" and
"Edit target group attributes" (deregistration delay).
"""

from __future__ import annotations

import pytest

from sandbox.model.errors import ServiceError
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour

ARN = "tg-1"
FAILS = Behaviour(
    check=CheckResult(
        healthy=False,
        reason="Target.ResponseCodeMismatch",
        description="Health checks failed with these codes: [500]",
    )
)


@pytest.fixture
def serving(world):
    """One instance in service whose target is healthy; checks every 10 s, delay 30 s."""
    world.target_group(ARN)
    world.create(desired=1, TargetGroupARNs=[ARN])
    [instance_id] = world.ids()
    world.until(lambda: target(world, instance_id).state == "healthy")
    return world, instance_id


def target(world, instance_id):
    return world.account.targets.find(ARN, instance_id)


def test_a_new_target_is_initial_and_needs_one_passed_check(world):
    """AWS: 'As soon as ... the target passes the first initial health check, regardless of the threshold'."""
    world.target_group(ARN, healthy_threshold=5)
    world.hypervisor.default.healthy_after_seconds = 0.0
    world.create(desired=1, TargetGroupARNs=[ARN])
    [instance_id] = world.ids()
    world.until(lambda: target(world, instance_id).state == "healthy", limit=5)


def test_reasons_of_a_new_target(world):
    world.target_group(ARN)
    world.create(desired=1, settle=False, TargetGroupARNs=[ARN])
    world.until(lambda: world.states() == ["InService"])
    [each] = world.account.targets.health(ARN)
    assert (each.state, each.reason) == ("initial", "Elb.RegistrationInProgress")
    world.advance(1.5)
    assert (each.state, each.reason) == ("initial", "Elb.InitialHealthChecking")
    world.advance(15)
    assert (each.state, each.reason) == ("healthy", "")


def test_thresholds(serving):
    world, instance_id = serving
    world.hypervisor.instances[instance_id] = FAILS
    world.advance(9)
    assert target(world, instance_id).state == "healthy"
    world.advance(11)
    found = target(world, instance_id)
    assert (found.state, found.reason) == ("unhealthy", "Target.ResponseCodeMismatch")
    assert found.description == "Health checks failed with these codes: [500]"
    world.hypervisor.instances[instance_id] = Behaviour()
    took = world.until(lambda: target(world, instance_id).state == "healthy")
    assert 20 <= took <= 30


def test_draining_lasts_the_whole_delay(serving):
    world, instance_id = serving
    world.account.targets.deregister(ARN, instance_id)
    found = target(world, instance_id)
    assert (found.state, found.reason) == ("draining", "Target.DeregistrationInProgress")
    world.advance(29)
    assert target(world, instance_id).state == "draining"
    world.advance(2)
    assert target(world, instance_id) is None


def test_registering_while_draining_starts_anew(serving):
    world, instance_id = serving
    world.account.targets.deregister(ARN, instance_id)
    world.advance(5)
    world.account.targets.register(ARN, instance_id)
    assert target(world, instance_id).state == "initial"
    world.advance(60)
    assert target(world, instance_id).state == "healthy"


def test_a_target_group_without_listener_is_unused(world):
    world.target_group(ARN, in_use=False)
    world.create(desired=1, TargetGroupARNs=[ARN])
    [each] = world.account.targets.health(ARN)
    assert (each.state, each.reason) == ("unused", "Target.NotInUse")
    world.target_group(ARN, in_use=True)
    world.account.targets.refresh(ARN)
    assert each.state == "initial"
    world.until(lambda: each.state == "healthy")


def test_a_stopped_instance_is_unused_and_a_terminated_one_gone(serving):
    world, instance_id = serving
    world.on_web("SuspendProcesses", ScalingProcesses=["HealthCheck"])
    world.account.instances.stop(instance_id, "User initiated")
    world.advance(5)
    found = target(world, instance_id)
    assert (found.state, found.reason) == ("unused", "Target.InvalidState")
    assert found.description == "Target is in the stopped state"
    world.account.instances.terminate(instance_id, "User initiated")
    world.advance(5)
    assert target(world, instance_id) is None


def test_listeners_see_every_change(serving):
    world, instance_id = serving
    seen = []
    world.account.targets.listen(lambda each, before: seen.append((before, each.state)))
    world.account.targets.deregister(ARN, instance_id)
    world.advance(31)
    assert seen == [("healthy", "draining"), ("draining", "gone")]


def test_unknown_target_groups_and_targets_are_refused(world):
    with pytest.raises(ServiceError, match="TargetGroupNotFound"):
        world.account.targets.register("tg-none", "i-1")
    world.target_group(ARN)
    with pytest.raises(ServiceError, match="InvalidTarget"):
        world.account.targets.register(ARN, "i-1")


def test_attachments_are_described(serving):
    world, _instance_id = serving
    [found] = world.on_web("DescribeLoadBalancerTargetGroups")["LoadBalancerTargetGroups"]
    assert found == {"LoadBalancerTargetGroupARN": ARN, "State": "InService"}
    world.target_group("tg-2")
    world.on_web("AttachTrafficSources", TrafficSources=[{"Identifier": "tg-2", "Type": "elbv2"}])
    assert world.group()["TargetGroupARNs"] == [ARN, "tg-2"]
    world.on_web("DetachLoadBalancerTargetGroups", TargetGroupARNs=[ARN])
    states = {
        each["Identifier"]: each["State"] for each in world.on_web("DescribeTrafficSources")["TrafficSources"]
    }
    assert states == {ARN: "Removing", "tg-2": "Added"}
    world.advance(31)
    assert [each["Identifier"] for each in world.on_web("DescribeTrafficSources")["TrafficSources"]] == [
        "tg-2"
    ]
    refusal = world.refused(
        "AttachLoadBalancerTargetGroups", AutoScalingGroupName="web", TargetGroupARNs=["tg-none"]
    )
    assert refusal.code == "ValidationError"
