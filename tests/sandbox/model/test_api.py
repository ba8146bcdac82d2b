"""The rest of the API: pages, filters, tags, policies, and the refusal of what is not modelled.

API reference, DescribeAutoScalingGroups, DescribeTags, PutScalingPolicy and others.
"""

from __future__ import annotations

import pytest

from sandbox.model.errors import ServiceError
from sandbox.services.autoscaling import ACTIONS


def many(world, number):
    for each in range(number):
        tags = [
            {"Key": "env", "Value": "odd" if each % 2 else "even"},
            {"Key": f"only-{each}", "Value": "x", "PropagateAtLaunch": True},
        ]
        world.create(desired=0, AutoScalingGroupName=f"g{each:03}", Tags=tags, settle=False)


def test_groups_are_paged(world):
    many(world, 7)
    seen, token = [], {}
    while True:
        answer = world.call("DescribeAutoScalingGroups", MaxRecords=3, **token)
        seen += [each["AutoScalingGroupName"] for each in answer["AutoScalingGroups"]]
        if "NextToken" not in answer:
            break
        token = {"NextToken": answer["NextToken"]}
    assert seen == [f"g{each:03}" for each in range(7)]
    assert world.refused("DescribeAutoScalingGroups", NextToken="?").code == "InvalidNextToken"
    assert world.refused("DescribeAutoScalingGroups", MaxRecords=101).code == "ValidationError"


def test_groups_are_found_by_tag(world):
    many(world, 4)

    def names(*filters):
        found = world.call("DescribeAutoScalingGroups", Filters=list(filters))["AutoScalingGroups"]
        return [each["AutoScalingGroupName"] for each in found]

    assert names({"Name": "tag:env", "Values": ["odd"]}) == ["g001", "g003"]
    assert names({"Name": "tag-key", "Values": ["only-2"]}) == ["g002"]
    assert names({"Name": "tag-value", "Values": ["even"]}) == ["g000", "g002"]
    assert names({"Name": "tag:env", "Values": ["odd"]}, {"Name": "tag-key", "Values": ["only-2"]}) == []
    refusal = world.refused("DescribeAutoScalingGroups", Filters=[{"Name": "colour", "Values": ["red"]}])
    assert refusal.code == "ValidationError"


def test_unknown_names_are_left_out_and_unknown_groups_refused(world):
    answer = world.call("DescribeAutoScalingGroups", AutoScalingGroupNames=["nobody"])
    assert answer == {"AutoScalingGroups": []}
    refusal = world.refused("SuspendProcesses", AutoScalingGroupName="nobody")
    assert refusal.message == "AutoScalingGroup name not found - AutoScalingGroup 'nobody' not found"


def test_instances_can_be_left_out(world):
    world.create(desired=2)
    [group] = world.call("DescribeAutoScalingGroups", IncludeInstances=False)["AutoScalingGroups"]
    assert group["Instances"] == []


def test_instances_are_paged_and_limited(world):
    world.create(desired=60)
    first = world.call("DescribeAutoScalingInstances")
    rest = world.call("DescribeAutoScalingInstances", NextToken=first["NextToken"])
    ids = [each["InstanceId"] for each in first["AutoScalingInstances"] + rest["AutoScalingInstances"]]
    assert (len(first["AutoScalingInstances"]), len(ids), len(set(ids))) == (50, 60, 60)
    assert "NextToken" not in rest
    refusal = world.refused("DescribeAutoScalingInstances", InstanceIds=ids[:51])
    assert refusal.code == "ValidationError"
    assert world.call("DescribeAutoScalingInstances", InstanceIds=["i-0"]) == {"AutoScalingInstances": []}


def test_tags(world):
    world.create(desired=0)
    tag = {"ResourceId": "web", "ResourceType": "auto-scaling-group", "Key": "env"}
    world.call("CreateOrUpdateTags", Tags=[{**tag, "Value": "development", "PropagateAtLaunch": True}])
    expected = {**tag, "Value": "development", "PropagateAtLaunch": True}
    filters = [{"Name": "auto-scaling-group", "Values": ["web"]}, {"Name": "key", "Values": ["env"]}]
    assert world.call("DescribeTags", Filters=filters) == {"Tags": [expected]}
    assert world.group()["Tags"] == [expected]
    world.call("DeleteTags", Tags=[tag])
    assert world.call("DescribeTags") == {"Tags": []}


def test_target_tracking_policy_is_kept(world):
    world.create(desired=0)
    target = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 50.0,
    }
    arn = world.on_web(
        "PutScalingPolicy",
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=target,
    )["PolicyARN"]
    [policy] = world.on_web("DescribePolicies", PolicyNames=["cpu"])["ScalingPolicies"]
    assert policy["TargetTrackingConfiguration"] == target
    assert policy["PolicyARN"] == arn
    world.on_web("DeletePolicy", PolicyName="cpu")
    assert world.on_web("DescribePolicies") == {"ScalingPolicies": []}


def test_metrics_collection(world):
    world.create(desired=0)
    world.on_web("EnableMetricsCollection", Granularity="1Minute", Metrics=["GroupInServiceInstances"])
    assert world.group()["EnabledMetrics"] == [
        {"Metric": "GroupInServiceInstances", "Granularity": "1Minute"}
    ]
    world.on_web("DisableMetricsCollection")
    assert world.group()["EnabledMetrics"] == []


@pytest.mark.parametrize(
    "action",
    ["DescribeWarmPool", "DescribeInstanceRefreshes", "DescribeScheduledActions", "DescribeLoadBalancers"],
)
def test_what_there_is_none_of(world, action):
    world.create(desired=0)
    [listing] = world.on_web(action).values()
    assert listing == []


def test_types_and_limits(world):
    assert len(world.call("DescribeLifecycleHookTypes")["LifecycleHookTypes"]) == 2
    assert "Default" in world.call("DescribeTerminationPolicyTypes")["TerminationPolicyTypes"]
    assert {"ProcessName": "AZRebalance"} in world.call("DescribeScalingProcessTypes")["Processes"]
    assert world.call("DescribeAccountLimits")["NumberOfAutoScalingGroups"] == 0
    assert world.call("DescribeNotificationConfigurations") == {"NotificationConfigurations": []}
    assert world.call("DescribeLaunchConfigurations") == {"LaunchConfigurations": []}


def test_activities_are_paged_and_outlive_their_group(world):
    world.create(desired=3)
    first = world.on_web("DescribeScalingActivities", MaxRecords=2)
    rest = world.on_web("DescribeScalingActivities", MaxRecords=2, NextToken=first["NextToken"])
    assert (len(first["Activities"]), len(rest["Activities"])) == (2, 1)
    wanted = [first["Activities"][0]["ActivityId"]]
    assert len(world.call("DescribeScalingActivities", ActivityIds=wanted)["Activities"]) == 1
    world.call("DeleteAutoScalingGroup", AutoScalingGroupName="web", ForceDelete=True)
    world.advance(30)
    assert world.refused("DescribeScalingActivities", AutoScalingGroupName="web").code == "ValidationError"
    kept = world.on_web("DescribeScalingActivities", IncludeDeletedGroups=True)["Activities"]
    assert len(kept) == 6


WEIGHTED = {
    "LaunchTemplate": {
        "LaunchTemplateSpecification": {"LaunchTemplateId": "lt-1", "Version": "1"},
        "Overrides": [{"InstanceType": "t3.micro", "WeightedCapacity": "2"}],
    }
}


@pytest.mark.parametrize(
    ("action", "params"),
    [
        (
            "UpdateAutoScalingGroup",
            {"AutoScalingGroupName": "web", "MixedInstancesPolicy": WEIGHTED},
        ),
        ("UpdateAutoScalingGroup", {"AutoScalingGroupName": "web", "CapacityRebalance": True}),
        ("UpdateAutoScalingGroup", {"AutoScalingGroupName": "web", "MaxInstanceLifetime": 86400}),
        (
            "UpdateAutoScalingGroup",
            {"AutoScalingGroupName": "web", "TerminationPolicies": ["AllocationStrategy"]},
        ),
        ("UpdateAutoScalingGroup", {"AutoScalingGroupName": "web", "HealthCheckType": "EBS"}),
        ("SetDesiredCapacity", {"AutoScalingGroupName": "web", "DesiredCapacity": 1, "HonorCooldown": True}),
    ],
)
def test_what_is_not_modelled_is_refused_and_said(world, action, params):
    world.create(desired=0)
    before = world.group()
    refusal = world.refused(action, **params)
    assert refusal.code == "ValidationError"
    assert refusal.message.endswith("is not modelled by the sandbox.")
    assert world.group() == before


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            {"LaunchTemplate": {"LaunchTemplateId": "lt-0"}},
            "You must use a valid fully-formed launch template.",
        ),
        ({"LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "9"}}, "specified version 9"),
        ({"VPCZoneIdentifier": "subnet-z"}, "The subnet ID 'subnet-z' does not exist"),
        ({"VPCZoneIdentifier": " "}, "At least one Availability Zone or VPC Subnet is required."),
        ({"TargetGroupARNs": ["tg-none"]}, "Provided Target Groups may not be valid."),
        ({"MinSize": 3, "DesiredCapacity": 1}, "must be between the specified min size:3"),
    ],
)
def test_a_group_that_makes_no_sense_is_not_made(world, params, text):
    settings = {
        "AutoScalingGroupName": "web",
        "MinSize": 0,
        "MaxSize": 10,
        "LaunchTemplate": {"LaunchTemplateName": "web-template"},
        "VPCZoneIdentifier": "subnet-a",
    }
    refusal = world.refused("CreateAutoScalingGroup", **(settings | params))
    assert text in refusal.message
    assert world.call("DescribeAutoScalingGroups")["AutoScalingGroups"] == []


def test_a_name_is_taken_once(world):
    world.create(desired=0)
    refusal = world.refused(
        "CreateAutoScalingGroup",
        AutoScalingGroupName="web",
        MinSize=0,
        MaxSize=1,
        LaunchTemplate={"LaunchTemplateId": "lt-1"},
        VPCZoneIdentifier="subnet-a",
    )
    assert refusal.code == "AlreadyExists"


@pytest.mark.parametrize(
    ("action", "params", "path"),
    [
        ("SetDesiredCapacity", {"AutoScalingGroupName": "web"}, "desiredCapacity"),
        ("CreateOrUpdateTags", {"Tags": [{"ResourceId": "web"}]}, "tags.1.member.key"),
    ],
)
def test_what_is_missing_is_named(world, action, params, path):
    with pytest.raises(ServiceError) as caught:
        ACTIONS[action](world.account, params)
    assert caught.value.code == "ValidationError"
    assert f"Value null at '{path}'" in caught.value.message


def test_every_action_is_one_of_aws():
    from botocore.session import get_session

    assert set(ACTIONS) <= set(get_session().get_service_model("autoscaling").operation_names)
