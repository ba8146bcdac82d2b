"""Whole rollouts of fleets that are not the usual one: docs/fleets.md says of each that it works."""

from __future__ import annotations

from typing import Any

import pytest

from bakeroll.core.errors import PreflightError
from bakeroll.core.rollout import preflight, shapes
from bakeroll.core.rollout.begin import unsettled
from bakeroll.core.rollout.waves import Settle
from tests.core.rollout.harness import World, wired_world, world
from tests.fleets import new_version


def group(w: World) -> dict[str, Any]:
    """Describe the group."""
    name = w.made.group
    found = w.clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    return dict(found["AutoScalingGroups"][0])


def rolled(w: World) -> None:
    """Roll, and see the fleet as it should be."""
    before = {key: group(w)[key] for key in ("MinSize", "MaxSize", "NewInstancesProtectedFromScaleIn")}
    old = {one.instance_id for one in w.picture().counted}
    result = w.roll()
    w.settle()
    fleet = w.picture()
    assert not fleet.old
    assert fleet.ready_current == fleet.desired == len(old)
    assert {one["instance_id"] for one in result["drained"]} >= old
    assert {key: group(w)[key] for key in before} == before
    assert not [one for one in fleet.counted if one.protected != before["NewInstancesProtectedFromScaleIn"]]
    assert group(w)["SuspendedProcesses"] == []


@pytest.mark.parametrize("version", ["$Latest", "$Default"])
def test_a_version_that_is_named_by_its_place(version: str) -> None:
    w = world()
    w.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=w.made.group,
        LaunchTemplate={"LaunchTemplateId": w.made.template_id, "Version": version},
    )
    number = new_version(w.aws, w.made, w.aws.image("application-2"))
    w.clients.ec2.modify_launch_template(LaunchTemplateId=w.made.template_id, DefaultVersion=number)
    assert len(w.picture().old) == 2
    assert w.picture().template_version == number
    rolled(w)


def second_target_group(w: World) -> str:
    """Put the fleet into a second target group, behind a listener of its own."""
    arn = w.made.target_group_arn.replace("/web/", "/second/")
    w.aws.target_groups.put(
        arn, port=8081, interval_seconds=30, healthy_threshold=5, deregistration_delay_seconds=300
    )
    w.clients.autoscaling.attach_load_balancer_target_groups(
        AutoScalingGroupName=w.made.group, TargetGroupARNs=[arn]
    )
    return arn


def test_several_target_groups() -> None:
    w = world()
    arn = second_target_group(w)
    w.settle(300)
    assert w.picture().ready_count == 2
    w.release()

    def both_serve(at: World) -> None:
        states = [target.state for target in at.aws.account.targets.health(arn)]
        assert states.count("healthy") >= 2

    w.on_pass = both_serve
    rolled(w)


def test_no_target_group() -> None:
    w = world()
    w.clients.autoscaling.detach_load_balancer_target_groups(
        AutoScalingGroupName=w.made.group, TargetGroupARNs=[w.made.target_group_arn]
    )
    w.settle(600)
    w.floor = 0
    assert w.picture().target_groups == ()
    assert w.picture().ready_count == 2
    w.release()

    def two_in_service(at: World) -> None:
        assert at.picture().ready_count >= 2

    w.on_pass = two_in_service
    rolled(w)


def with_one_aside() -> tuple[World, str]:
    """Make a fleet of three of which a person has put one into Standby, and deploy to it."""
    w = world(3, maximum=8)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=w.made.group, MinSize=2)
    aside = w.picture().counted[0].instance_id
    w.clients.autoscaling.enter_standby(
        AutoScalingGroupName=w.made.group, InstanceIds=[aside], ShouldDecrementDesiredCapacity=True
    )
    w.settle()
    w.floor = 2
    w.release()
    return w, aside


def returns(w: World, aside: str) -> None:
    w.clients.autoscaling.exit_standby(AutoScalingGroupName=w.made.group, InstanceIds=[aside])
    w.settle()


def test_an_instance_in_standby_is_left_alone_until_it_comes_back() -> None:
    w, aside = with_one_aside()
    rolled(w)
    assert [one.instance_id for one in w.picture().standby] == [aside]
    returns(w, aside)
    w.floor = w.picture().ready_count
    assert [one.instance_id for one in w.picture().old] == [aside]
    w.roll()
    w.settle()
    assert w.picture().find(aside) is None
    assert w.picture().ready_current == w.picture().desired == 3


def test_one_that_comes_back_from_standby_in_the_middle_is_replaced_too() -> None:
    w, aside = with_one_aside()

    def back(at: World) -> None:
        if "note that capacity is raised" in at.log and at.picture().standby:
            at.clients.autoscaling.exit_standby(AutoScalingGroupName=at.made.group, InstanceIds=[aside])

    w.on_pass = back
    w.roll()
    w.settle()
    assert w.picture().find(aside) is None
    assert w.picture().ready_current == w.picture().desired == 3


def test_one_that_comes_back_from_standby_while_the_last_old_ones_go_is_replaced_too() -> None:
    w, aside = with_one_aside()

    def back(at: World) -> None:
        if sum(line.startswith("terminate i-") for line in at.log) == 2:
            at.on_pass = None
            returns(at, aside)

    w.on_pass = back
    w.roll()
    w.settle()
    assert w.picture().find(aside) is None
    assert w.picture().ready_current == w.picture().desired == 3
    assert (w.picture().minimum, w.picture().maximum) == (2, 8)


@pytest.mark.parametrize("given_back", [False, True])
def test_one_that_comes_back_from_standby_when_all_is_over_is_left_to_the_next_run(given_back: bool) -> None:
    w, aside = with_one_aside()
    w.roll_wave(1)
    step = w.step(Settle)
    while given_back and w.record().before:
        step.look().perform()
    returns(w, aside)
    w.run(step)
    assert f"{aside} came back from Standby: the next run replaces it" in w.log[-1]
    assert (w.picture().minimum, w.picture().maximum, w.picture().desired) == (2, 8, 3)
    assert unsettled(w.clients, w.ledger.read()) == ["web: 1 of 3 instances are not current"]


@pytest.mark.parametrize("new_too", [False, True])
def test_protected_old_instances(new_too: bool) -> None:
    w = world(3, maximum=6)
    w.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=w.made.group, NewInstancesProtectedFromScaleIn=new_too
    )
    w.clients.autoscaling.set_instance_protection(
        AutoScalingGroupName=w.made.group,
        InstanceIds=[one.instance_id for one in w.picture().counted],
        ProtectedFromScaleIn=True,
    )
    w.release()
    rolled(w)


def archive(w: World) -> None:
    """Add a second termination hook, which somebody else completes or lets time out."""
    w.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=w.made.group,
        LifecycleHookName="archive",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=400,
        DefaultResult="CONTINUE",
    )


def test_a_second_termination_hook_is_left_to_its_owner() -> None:
    w = world()
    archive(w)
    w.release()
    rolled(w)
    assert w.wire is not None
    assert w.wire.count("autoscaling", "CompleteLifecycleAction") == 2


def mix(w: World, *types: str, on_demand_percent: int = 100) -> None:
    """Give the group a mixed instances policy in place of its own template."""
    policy: Any = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": w.made.template_id, "Version": "1"},
            "Overrides": [{"InstanceType": each} for each in types],
        },
        "InstancesDistribution": {
            "OnDemandPercentageAboveBaseCapacity": on_demand_percent,
            "SpotAllocationStrategy": "price-capacity-optimized",
        },
    }
    w.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=w.made.group,
        MixedInstancesPolicy=policy,
    )
    w.settle(600)


def point(w: World, version: str) -> None:
    """Have the group launch from another version."""
    asg: Any = group(w)
    w.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=w.made.group, **shapes.pointed_at(asg, version)
    )


def test_a_mixed_instances_policy_forth_and_back() -> None:
    w = world(3, maximum=6)
    mix(w, "t3.small", "t3.medium")
    policy: Any = group(w)["MixedInstancesPolicy"]
    number = new_version(w.aws, w.made, w.aws.image("application-2"))
    point(w, number)
    assert len(w.picture().old) == 3
    rolled(w)
    assert {one["InstanceType"] for one in group(w)["Instances"]} <= {"t3.small", "t3.medium"}
    point(w, "1")
    rolled(w)
    after: Any = group(w)["MixedInstancesPolicy"]
    assert after["InstancesDistribution"] == policy["InstancesDistribution"]
    assert after["LaunchTemplate"]["Overrides"] == policy["LaunchTemplate"]["Overrides"]
    assert after["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == "1"


def test_each_market_of_a_mixed_instances_policy_has_its_quota() -> None:
    w = wired_world(4, maximum=8, heartbeat_seconds=900)  # for quotas and instance types
    mix(w, "t3.small", "t3.xlarge", on_demand_percent=50)
    w.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=w.made.group, LifecycleHookName=w.made.hook, DefaultResult="CONTINUE"
    )
    journal = w.ledger.peek()
    assert journal is not None
    quotas = w.aws.cloud.quotas
    running = w.picture().counted
    assert len(running) == 4

    def vcpus() -> tuple[list[str], list[str]]:
        found = preflight.look(w.clients, journal, {}, w.aws.clock.now())
        return [one for one in found.problems if "vCPUs" in one], [
            one for one in found.notes if "vCPUs" in one
        ]

    assert vcpus() == ([], [])
    quotas["ec2", "L-34B43A08"].applied = 3
    problems, notes = vcpus()
    assert len(problems) == 1
    assert "Standard spot vCPUs run and a wave needs 4 more, the account's quota is 3" in problems[0]
    quotas["ec2", "L-34B43A08"].applied = 4096
    used = sum(4 if one["InstanceType"] == "t3.xlarge" else 2 for one in on_demand(w))
    quotas["ec2", "L-1216C47A"].applied = used + 4
    problems, notes = vcpus()
    assert problems == []
    assert "room for a wave of the smallest instance types (4), not of the largest (8)" in notes[0]


def on_demand(w: World) -> list[dict[str, Any]]:
    """Return the running instances that are no spot instances."""
    found = w.clients.ec2.describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )
    each = [dict(one) for reservation in found["Reservations"] for one in reservation["Instances"]]
    return [one for one in each if one.get("InstanceLifecycle") != "spot"]


def test_a_warm_pool_would_bring_the_old_image_and_is_refused() -> None:
    w = wired_world(heartbeat_seconds=900)  # preflight reads quotas and the document
    w.clients.autoscaling.put_warm_pool(AutoScalingGroupName=w.made.group, MinSize=2)
    w.settle()
    journal = w.ledger.peek()
    assert journal is not None
    found = preflight.look(w.clients, journal, {}, w.aws.clock.now())
    assert [one for one in found.problems if "delete-warm-pool" in one]
    with pytest.raises(PreflightError, match="from which new capacity would come with the old image"):
        preflight.insist("production", found)
