"""What kinds of Auto Scaling groups can be rolled, and what a group launches from.

Everything here is read from one description of the group, so that each is decided before anything moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bakeroll.core.errors import FleetError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import (
        AutoScalingGroupTypeDef,
        LaunchTemplateSpecificationTypeDef,
        MixedInstancesPolicyOutputTypeDef,
    )

NEEDED_PROCESSES = ("Launch", "Terminate")
"""Without them no group changes its instances
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html)."""

TO_BALANCER = "AddToLoadBalancer"


def template(name: str, asg: AutoScalingGroupTypeDef) -> LaunchTemplateSpecificationTypeDef:
    """Return the launch template that a group launches from, its own or its mixed instances policy's.

    :param name: the fleet's name, for the message.
    :param asg: the group as DescribeAutoScalingGroups has it.
    :raises FleetError: if there is no such template, or not one alone.
    """
    problem = _launches_from_more(asg)
    if problem:
        raise FleetError(f"fleet {name}: {asg['AutoScalingGroupName']} {problem}")
    found = named(asg)
    if found is None:
        raise FleetError(f"fleet {name}: {asg['AutoScalingGroupName']} launches from nothing")
    return found


def named(asg: AutoScalingGroupTypeDef) -> LaunchTemplateSpecificationTypeDef | None:
    """Return the launch template that a group names, whether or not bakeroll rolls such a group."""
    if own := asg.get("LaunchTemplate"):
        return own
    return asg.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("LaunchTemplateSpecification")


def pointed_at(
    asg: AutoScalingGroupTypeDef, version: str, *, template_id: str | None = None
) -> dict[str, Any]:
    """Return the parameter of UpdateAutoScalingGroup that has a group launch from another version.

    A mixed instances policy is given whole, as it stands: what its instance types and purchase options are,
    stays.

    :param asg: the group as DescribeAutoScalingGroups has it.
    :param version: number of the launch template version.
    :param template_id: the launch template; None: the group's own of now.
    """
    if own := asg.get("LaunchTemplate"):
        return {
            "LaunchTemplate": {
                "LaunchTemplateId": template_id or own["LaunchTemplateId"],
                "Version": version,
            }
        }
    policy = _policy(asg)
    launch = policy["LaunchTemplate"]
    specification = {
        "LaunchTemplateId": template_id or launch["LaunchTemplateSpecification"]["LaunchTemplateId"],
        "Version": version,
    }
    changed = {**policy, "LaunchTemplate": {**launch, "LaunchTemplateSpecification": specification}}
    return {"MixedInstancesPolicy": changed}


def refusals(asg: AutoScalingGroupTypeDef) -> list[str]:
    """Say why a group cannot be rolled, a line each with the next step; empty if it can.

    :param asg: the group as DescribeAutoScalingGroups has it.
    """
    group = asg["AutoScalingGroupName"]
    found = [
        _launches_from_more(asg),
        _counts_otherwise(asg),
        _balanced_otherwise(asg),
        _warm_pool(asg),
        _suspended(asg),
        "is being deleted; wait for its end and apply Terraform" if asg.get("Status") else None,
    ]
    return [f"{group} {problem}" for problem in found if problem]


def _policy(asg: AutoScalingGroupTypeDef) -> MixedInstancesPolicyOutputTypeDef:
    return asg["MixedInstancesPolicy"]


def _launches_from_more(asg: AutoScalingGroupTypeDef) -> str | None:
    if asg.get("LaunchTemplate"):
        return None
    policy = asg.get("MixedInstancesPolicy", {})
    launch = policy.get("LaunchTemplate", {})
    if not launch.get("LaunchTemplateSpecification"):
        return "launches from a launch configuration; bakeroll needs a launch template of the group's own"
    own = [one for one in launch.get("Overrides", []) if one.get("LaunchTemplateSpecification")]
    if own:
        kinds = ", ".join(sorted(str(one.get("InstanceType", "some")) for one in own))
        return (
            f"has a mixed instances policy whose overrides ({kinds}) have launch templates of their own, so "
            "one image cannot be given to all; let all override the policy's one template"
        )
    return None


def _counts_otherwise(asg: AutoScalingGroupTypeDef) -> str | None:
    """Refuse capacities that are not counted in instances, as waves and floors are.

    Source: Auto Scaling user guide, "Configure an Auto Scaling group to use instance weights"
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-mixed-instances-groups-instance-weighting.html).
    """
    overrides = asg.get("MixedInstancesPolicy", {}).get("LaunchTemplate", {}).get("Overrides", [])
    if any(one.get("WeightedCapacity", "1") != "1" for one in overrides):
        return "counts capacity in instance weights, bakeroll in instances; take WeightedCapacity out"
    if (kind := asg.get("DesiredCapacityType", "units")) != "units":
        return f"counts capacity in {kind}, bakeroll in instances; set DesiredCapacityType to units"
    return None


def _balanced_otherwise(asg: AutoScalingGroupTypeDef) -> str | None:
    others = {f"load balancer {name}" for name in asg.get("LoadBalancerNames", [])}
    others |= {
        f"{one.get('Type', 'traffic source')} {one['Identifier']}"
        for one in asg.get("TrafficSources", [])
        if one.get("Type") != "elbv2" and f"load balancer {one['Identifier']}" not in others
    }
    if not others:
        return None
    return (
        f"serves behind {', '.join(sorted(others))}, whose health bakeroll does not see; attach target "
        "groups of an Application or Network Load Balancer instead"
    )


def _warm_pool(asg: AutoScalingGroupTypeDef) -> str | None:
    """Refuse warm pools: scaling out takes instances of the old image from them.

    Source: CloudFormation reference, AWS::AutoScaling::WarmPool: where InService instances are replaced,
    those in the warm pool are not
    (https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-autoscaling-warmpool.html).
    """
    pool = asg.get("WarmPoolConfiguration")
    if pool is None or pool.get("Status") == "PendingDelete":
        return None
    return (
        "has a warm pool, from which new capacity would come with the old image; delete it "
        f"(aws autoscaling delete-warm-pool --auto-scaling-group-name {asg['AutoScalingGroupName']})"
    )


def _suspended(asg: AutoScalingGroupTypeDef) -> str | None:
    suspended = {process["ProcessName"] for process in asg.get("SuspendedProcesses", [])}
    behind = asg.get("TargetGroupARNs") or asg.get("TrafficSources")
    needed = (*NEEDED_PROCESSES, TO_BALANCER) if behind else NEEDED_PROCESSES
    stopped = [process for process in needed if process in suspended]
    if not stopped:
        return None
    return (
        f"has {', '.join(stopped)} suspended, so no instance can be replaced; resume it (aws autoscaling "
        f"resume-processes --auto-scaling-group-name {asg['AutoScalingGroupName']})"
    )
