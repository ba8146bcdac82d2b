"""Mixed instances policies over the wire, with EC2's view of what they launch."""

from __future__ import annotations

from collections import Counter

from sandbox.wire.inprocess import virtual_account
from tests.fleets import make_fleet


def test_a_mixed_group_launches_its_types_as_spot_and_on_demand() -> None:
    aws = virtual_account(seed=1)
    fleet = make_fleet(aws, image_id=aws.image("app"), size=4, maximum=8)
    autoscaling, ec2 = aws.client("autoscaling"), aws.client("ec2")
    autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=fleet.group,
        MixedInstancesPolicy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": fleet.template_id, "Version": "$Latest"},
                "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3a.small"}],
            },
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 50},
        },
    )
    aws.clock.advance(60)
    (group,) = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert "LaunchTemplate" not in group
    launch = group["MixedInstancesPolicy"]["LaunchTemplate"]
    assert launch["LaunchTemplateSpecification"]["Version"] == "$Latest"
    assert [each["InstanceType"] for each in launch["Overrides"]] == ["t3.small", "t3a.small"]
    described = [
        instance
        for reservation in ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert Counter(each.get("InstanceLifecycle", "on-demand") for each in described) == {
        "on-demand": 2,
        "spot": 2,
    }
    assert {each["InstanceType"] for each in described} <= {"t3.small", "t3a.small"}
