"""Which groups are refused, and what a group launches from, as DescribeAutoScalingGroups tells it."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest
from botocore.validate import validate_parameters

from bakeroll.core.errors import FleetError
from bakeroll.core.rollout import shapes

TEMPLATE = {"LaunchTemplateId": "lt-1", "LaunchTemplateName": "web", "Version": "3"}
POLICY: dict[str, Any] = {
    "LaunchTemplate": {
        "LaunchTemplateSpecification": TEMPLATE,
        "Overrides": [{"InstanceType": "m7g.large"}, {"InstanceType": "m6g.large"}],
    },
    "InstancesDistribution": {
        "OnDemandBaseCapacity": 2,
        "OnDemandPercentageAboveBaseCapacity": 50,
        "SpotAllocationStrategy": "price-capacity-optimized",
    },
}


def group(**more: Any) -> Any:
    return {"AutoScalingGroupName": "production-web", "LaunchTemplate": TEMPLATE, **more}


def mixed(**launch: Any) -> Any:
    policy = {**POLICY, "LaunchTemplate": {**POLICY["LaunchTemplate"], **launch}}
    return {"AutoScalingGroupName": "production-web", "MixedInstancesPolicy": policy}


def suspended(*processes: str) -> dict[str, Any]:
    return {"SuspendedProcesses": [{"ProcessName": one, "SuspensionReason": "x"} for one in processes]}


@pytest.mark.parametrize(
    "asg",
    [
        group(),
        mixed(),
        group(TargetGroupARNs=["a", "b"], TrafficSources=[{"Identifier": "a", "Type": "elbv2"}]),
        group(WarmPoolConfiguration={"Status": "PendingDelete"}),
        group(**suspended("AZRebalance", "AlarmNotification", "ReplaceUnhealthy", "ScheduledActions")),
        group(**suspended("AddToLoadBalancer")),
        group(DesiredCapacityType="units"),
        mixed(Overrides=[{"InstanceType": "m7g.large", "WeightedCapacity": "1"}]),
    ],
)
def test_these_can_be_rolled(asg: Any) -> None:
    assert shapes.refusals(asg) == []
    assert shapes.template("web", asg) == TEMPLATE


@pytest.mark.parametrize(
    ("asg", "reason"),
    [
        (
            {"AutoScalingGroupName": "production-web", "LaunchConfigurationName": "x"},
            "launch configuration; bakeroll needs",
        ),
        (
            mixed(Overrides=[{"InstanceType": "m7i.large", "LaunchTemplateSpecification": TEMPLATE}]),
            r"overrides \(m7i.large\) have launch templates of their own",
        ),
        (mixed(Overrides=[{"InstanceType": "m7g.large", "WeightedCapacity": "4"}]), "instance weights"),
        (group(DesiredCapacityType="vcpu"), "counts capacity in vcpu"),
        (group(LoadBalancerNames=["old"]), "load balancer old, whose health"),
        (
            group(TrafficSources=[{"Identifier": "arn:x", "Type": "vpc-lattice"}]),
            "vpc-lattice arn:x, whose health",
        ),
        (group(WarmPoolConfiguration={}), "delete-warm-pool .* production-web"),
        (group(**suspended("Launch", "Terminate")), "Launch, Terminate suspended"),
        (group(TargetGroupARNs=["a"], **suspended("AddToLoadBalancer")), "AddToLoadBalancer suspended"),
        (group(Status="Delete in progress"), "is being deleted"),
    ],
)
def test_these_are_refused_in_one_line(asg: Any, reason: str) -> None:
    (line,) = shapes.refusals(asg)
    assert line.startswith("production-web ")
    assert "\n" not in line
    assert re.search(reason, line), line


def test_all_reasons_are_said_at_once() -> None:
    both = group(WarmPoolConfiguration={"MinSize": 0}, **suspended("Launch"))
    assert len(shapes.refusals(both)) == 2


def test_a_group_without_a_template_shows_no_picture() -> None:
    with pytest.raises(FleetError, match="fleet web: production-web launches from a launch configuration"):
        shapes.template("web", {"AutoScalingGroupName": "production-web"})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("asg", [group(), mixed()])
def test_a_group_is_pointed_at_another_version_and_keeps_all_else(asg: Any) -> None:
    change = shapes.pointed_at(asg, "2")
    shape = (
        botocore.session.get_session()
        .get_service_model("autoscaling")
        .operation_model("UpdateAutoScalingGroup")
        .input_shape
    )
    assert shape is not None
    validate_parameters({"AutoScalingGroupName": "production-web", **change}, shape)
    after: Any = {**asg, **change}
    assert shapes.template("web", after) == {"LaunchTemplateId": "lt-1", "Version": "2"}
    if "MixedInstancesPolicy" in asg:
        assert after["MixedInstancesPolicy"]["InstancesDistribution"] == POLICY["InstancesDistribution"]
        assert (
            after["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
            == POLICY["LaunchTemplate"]["Overrides"]
        )
