"""Replacement of unhealthy instances.

Auto Scaling user guide, "Health checks for instances in an Auto Scaling group" and "Set the health check
grace period for an Auto Scaling group".
"""

from __future__ import annotations

from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour

FAILS = Behaviour(
    check=CheckResult(
        healthy=False,
        reason="Target.ResponseCodeMismatch",
        description="Health checks failed with these codes: [500]",
    )
)


def test_a_stopped_instance_is_replaced_also_in_its_grace_period(world):
    world.create(desired=1, HealthCheckGracePeriod=3600)
    [first] = world.ids()
    world.hypervisor.crash(first)
    world.until(lambda: world.state(first) is None and world.states() == ["InService"])
    causes = [each["Cause"] for each in world.activities()]
    assert any("EC2 health check indicating it has been terminated or stopped" in cause for cause in causes)


def test_elb_health_counts_only_if_asked_for(world):
    arn = world.target_group()
    world.create(desired=1, TargetGroupARNs=[arn])
    [first] = world.ids()
    world.until(lambda: world.account.targets.find(arn, first).state == "healthy")
    world.hypervisor.instances[first] = FAILS
    world.until(lambda: world.account.targets.find(arn, first).state == "unhealthy")
    world.advance(600)
    assert world.state(first) == "InService"
    world.update(HealthCheckType="ELB")
    world.until(lambda: world.state(first) is None)
    assert any("ELB system health check failure" in each["Cause"] for each in world.activities())


def test_elb_health_waits_for_the_grace_period(world):
    arn = world.target_group()
    world.hypervisor.images["ami-1"] = FAILS
    world.create(desired=1, TargetGroupARNs=[arn], HealthCheckType="ELB", HealthCheckGracePeriod=300)
    [first] = world.ids()
    world.advance(290)
    assert world.account.targets.find(arn, first).state == "unhealthy"
    assert world.state(first) == "InService"
    world.advance(15)
    assert world.state(first) == "Terminating"


def test_set_instance_health_respects_the_grace_period_unless_told(world):
    """API reference, SetInstanceHealth, ShouldRespectGracePeriod."""
    world.create(desired=1, HealthCheckGracePeriod=300)
    [first] = world.ids()
    world.call("SetInstanceHealth", InstanceId=first, HealthStatus="Unhealthy")
    world.advance(60)
    assert world.state(first) == "InService"
    world.call(
        "SetInstanceHealth", InstanceId=first, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False
    )
    assert world.instances()[0]["HealthStatus"] == "Unhealthy"
    world.until(lambda: world.state(first) is None)


def test_an_unhealthy_instance_runs_through_the_hook(world):
    world.create(desired=1)
    world.hook()
    [first] = world.ids()
    world.call("SetInstanceHealth", InstanceId=first, HealthStatus="Unhealthy")
    world.until(lambda: world.state(first) == "Terminating:Wait")
    world.until(lambda: len(world.ids("InService")) == 1)


def test_standby_serves_no_traffic_and_is_not_replaced(world):
    """User guide, "Temporarily remove instances from your Auto Scaling group"."""
    arn = world.target_group(deregistration_delay_seconds=5.0)
    world.create(desired=2, TargetGroupARNs=[arn])
    first = world.ids()[0]
    world.until(lambda: world.account.targets.find(arn, first).state == "healthy")
    world.on_web("EnterStandby", InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    assert world.state(first) == "EnteringStandby"
    world.until(lambda: world.state(first) == "Standby")
    assert world.group()["DesiredCapacity"] == 1
    world.hypervisor.instances[first] = FAILS
    world.advance(300)
    assert world.state(first) == "Standby"
    world.on_web("ExitStandby", InstanceIds=[first])
    assert world.state(first) == "InService"
    assert world.group()["DesiredCapacity"] == 2


def test_detached_instances_run_on(world):
    world.create(desired=2)
    first = world.ids()[0]
    world.on_web("DetachInstances", InstanceIds=[first], ShouldDecrementDesiredCapacity=True)
    world.until(lambda: world.state(first) is None)
    assert world.account.instances.get(first).state == "running"
    world.on_web("AttachInstances", InstanceIds=[first])
    assert world.state(first) == "InService"
    assert world.group()["DesiredCapacity"] == 2
