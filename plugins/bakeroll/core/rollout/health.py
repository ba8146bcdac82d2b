"""Health of targets, and what AWS says when instances do not come up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

FINAL_REASONS = re.compile(
    r"does not exist|InvalidAMIID|Invalid id:|not authorized|UnauthorizedOperation|AccessDenied"
    r"|VcpuLimitExceeded|InstanceLimitExceeded|more (?:vCPU|instances) capacity than your current"
    r"|InvalidKeyPair|InvalidGroup|InvalidSubnet|InvalidParameter|Unsupported|OptInRequired"
    r"|Client\.InternalError|Client\.InvalidSnapshot|no longer (?:valid|available)",
    re.IGNORECASE,
)
"""Reasons of a failed launch that waiting cannot mend; texts from the troubleshooting pages
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-instancelaunchfailure.html and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-ami.html. A shortage of capacity
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-capacity.html) is not among them: Auto
Scaling goes on trying, in other zones too."""


@dataclass(frozen=True)
class TargetHealth:
    """Health of one instance in one target group.

    :ivar state: initial, healthy, unhealthy, unused, draining or unavailable.
    :ivar reason: ELBv2's reason code and its description; empty if healthy.
    """

    target_group: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class FailedLaunch:
    """A launch that Auto Scaling reports as failed."""

    activity_id: str
    message: str

    @property
    def final(self) -> bool:
        """Whether trying again cannot help."""
        return FINAL_REASONS.search(self.message) is not None


def target_health(
    elbv2: ElasticLoadBalancingv2Client, target_groups: Sequence[str]
) -> dict[str, tuple[TargetHealth, ...]]:
    """Return each registered instance's health in each target group.

    :param target_groups: ARNs.
    :return: by instance id; an instance that is not registered in a group has no entry for it.
    """
    found: dict[str, list[TargetHealth]] = {}
    for arn in target_groups:
        for description in elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]:
            health = description.get("TargetHealth", {})
            reason = " ".join(filter(None, [health.get("Reason"), health.get("Description")]))
            instance_id = description["Target"]["Id"]
            found.setdefault(instance_id, []).append(
                TargetHealth(target_group=arn, state=str(health.get("State", "unavailable")), reason=reason)
            )
    return {instance_id: tuple(healths) for instance_id, healths in found.items()}


def failed_launches(autoscaling: AutoScalingClient, group: str, since: float) -> list[FailedLaunch]:
    """Return the launches that failed since a moment, newest first.

    :param group: name of the Auto Scaling group.
    :param since: seconds since the epoch; older activities belong to other rollouts.
    """
    failed: list[FailedLaunch] = []
    # Those in progress first, then by start, the newest first (API reference, DescribeScalingActivities): an
    # old one that waits at a hook stands before a launch that failed a moment ago. One page holds enough.
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=100)
    for activity in activities["Activities"]:
        if activity["StartTime"].timestamp() < since - 1:  # told in whole seconds
            continue
        if not activity.get("Description", "").startswith("Launching"):
            continue  # a termination whose action was abandoned fails as well
        if activity["StatusCode"] in {"Failed", "Cancelled"} and activity.get("StatusMessage"):
            failed.append(FailedLaunch(activity["ActivityId"], activity["StatusMessage"]))
    return failed


UNDER_WAY = frozenset({"InProgress", "PreInService", "WaitingForInstanceId"})
"""States of a launch that others follow (API reference, Activity, StatusCode), of instances on demand and
of spot instances (which may be waited for without end) those in which one is about to come."""


def launches_under_way(autoscaling: AutoScalingClient, group: str) -> bool:
    """Tell whether Auto Scaling is about to add an instance to a group.

    :param group: its name.
    """
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=100)
    return any(
        one["StatusCode"] in UNDER_WAY and one.get("Description", "").startswith("Launching")
        for one in activities["Activities"]
    )


def evidence(launches: Iterable[FailedLaunch], targets: Iterable[TargetHealth]) -> str:
    """Say in AWS's own words why instances do not come into service; empty if AWS says nothing."""
    words = [launch.message for launch in launches]
    words += [f"target {target.state}: {target.reason}" for target in targets if target.reason]
    counted = Counter(words)
    return "; ".join(f"{word} ({n} times)" if n > 1 else word for word, n in counted.most_common(5))


def console_output(ec2: EC2Client, instance_id: str, lines: int = 20) -> str:
    """Return the last lines of an instance's console; empty if EC2 has none (yet).

    :param ec2: a boto3 EC2 client.
    :param lines: how many lines at the most.
    """
    try:
        answer = ec2.get_console_output(InstanceId=instance_id)
    except ClientError as error:
        if error_code(error) in {"InvalidInstanceID.NotFound", "IncorrectInstanceState"}:
            return ""
        raise
    return "\n".join(answer.get("Output", "").splitlines()[-lines:])
