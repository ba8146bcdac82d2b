"""Order of lifecycle states.

Auto Scaling user guide, "Amazon EC2 Auto Scaling instance lifecycle" and "How lifecycle hooks work in Auto
Scaling groups".
"""

from __future__ import annotations


def test_launch_without_hooks(world):
    world.create(desired=1, settle=False)
    world.advance(1)
    [instance_id] = world.ids()
    assert world.state(instance_id) == "Pending"
    assert world.trace(instance_id, lambda: world.states() == ["InService"]) == ["Pending", "InService"]


def test_launch_hook_holds_before_registration(world):
    """AWS: 'Registered with the load balancer before InService', and not while it waits."""
    arn = world.target_group()
    world.create(
        desired=1,
        settle=False,
        TargetGroupARNs=[arn],
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": "prepare",
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING",
                "DefaultResult": "CONTINUE",
                "HeartbeatTimeout": 60,
            }
        ],
    )
    world.until(lambda: world.states() == ["Pending:Wait"])
    assert world.account.targets.health(arn) == []
    [instance_id] = world.ids()
    world.complete(instance_id, "CONTINUE", "prepare")
    assert world.states() == ["InService"]
    assert [target.state for target in world.account.targets.health(arn)] == ["initial"]


def test_termination_deregisters_and_drains_before_the_hook(world):
    """First out of the load balancer and drained, then Terminating:Wait, then the end."""
    arn = world.target_group(deregistration_delay_seconds=30.0)
    world.create(desired=1, TargetGroupARNs=[arn])
    world.hook()
    [instance_id] = world.ids()
    world.until(lambda: world.account.targets.find(arn, instance_id).state == "healthy")
    world.terminate(instance_id)
    assert world.state(instance_id) == "Terminating"
    assert world.activities()[0]["StatusCode"] == "WaitingForELBConnectionDraining"
    world.advance(29.5)
    assert world.state(instance_id) == "Terminating"
    assert world.account.targets.find(arn, instance_id).state == "draining"
    world.advance(1)
    assert world.state(instance_id) == "Terminating:Wait"
    assert world.account.targets.find(arn, instance_id) is None
    assert world.activities()[0]["StatusCode"] == "MidLifecycleAction"
    world.complete(instance_id, "CONTINUE")
    assert world.state(instance_id) == "Terminating:Proceed"
    world.until(lambda: world.ids() == [])
    assert world.account.instances.get(instance_id).state == "terminated"
    assert world.activities()[0]["StatusCode"] == "Successful"


def test_an_instance_that_cannot_boot_is_replaced(world):
    world.hypervisor.default.boot_failure = "no such kernel"
    world.create(desired=1, settle=False)
    world.until(lambda: any(each["StatusCode"] == "Cancelled" for each in world.activities()))
    failed = next(each for each in world.activities() if each["StatusCode"] == "Cancelled")
    assert failed["StatusMessage"].startswith(
        "Instance became unhealthy while waiting for instance to be in InService"
    )
    assert "no such kernel" in failed["StatusMessage"]
    assert world.bus.of("EC2 Instance Launch Unsuccessful")
    world.hypervisor.default.boot_failure = None
    world.until(lambda: world.states() == ["InService"])


def test_launch_template_version_is_kept_per_instance(world):
    """Describe calls report the version an instance was launched from, not the group's newest."""
    world.create(desired=2)
    world.publish("ami-2")
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=3)
    world.until(lambda: world.states() == ["InService"] * 3)
    versions = sorted(each["LaunchTemplate"]["Version"] for each in world.instances())
    assert versions == ["1", "1", "2"]
    described = world.call("DescribeAutoScalingInstances")["AutoScalingInstances"]
    assert sorted(each["LaunchTemplate"]["Version"] for each in described) == versions
    assert {each["ImageId"] for each in described} == {"ami-1", "ami-2"}
    assert world.group()["LaunchTemplate"]["Version"] == "$Latest"
    assert world.group()["LaunchTemplate"]["LaunchTemplateName"] == "web-template"


def test_tags_are_propagated_at_launch(world):
    world.create(
        desired=1,
        Tags=[
            {
                "Key": "Name",
                "Value": "web",
                "PropagateAtLaunch": True,
                "ResourceId": "web",
                "ResourceType": "auto-scaling-group",
            },
            {
                "Key": "team",
                "Value": "a",
                "PropagateAtLaunch": False,
                "ResourceId": "web",
                "ResourceType": "auto-scaling-group",
            },
        ],
    )
    [instance_id] = world.ids()
    tags = world.account.instances.get(instance_id).spec.tags
    assert tags == {
        "Name": "web",
        "aws:autoscaling:groupName": "web",
        "aws:ec2launchtemplate:id": "lt-1",
        "aws:ec2launchtemplate:version": "1",
    }
