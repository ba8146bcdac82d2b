"""What new instances that users are exposed to say against their version."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code
from bakeroll.core.rollout import health
from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.health import TargetHealth
from bakeroll.core.rollout.journal import Watch

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ec2 import EC2Client

BLAMED = re.compile(r"(ELB|VPC Lattice) system health check|user health-check", re.IGNORECASE)
"""Causes of a termination that speak against the version: the load balancer's health check, or one of the
user's own. What EC2 stopped or lost (spot, a dead host, a zone) is replaced and no fault of the version.
Texts: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ts-as-healthchecks.html and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/replace-unhealthy-instance.html"""


def serving(fleet: Fleet) -> set[str]:
    """Return the ids of new instances that users' requests reach."""
    return {one.instance_id for one in fleet.current if fleet.ready(one)}


def words(fleet: Fleet) -> str:
    """Return what AWS says of new instances that do not serve; empty if nothing."""
    unready = [one for one in fleet.current if not fleet.ready(one)]
    said = health.evidence([], [target for one in unready for target in one.targets])
    return f"; AWS says: {said}" if said else ""


def fault(clients: Clients, fleet: Fleet, watch: Watch) -> str | None:
    """Return what a watched instance says against its version; None if nothing."""
    watched = [one for one in fleet.counted if one.instance_id in watch.instances]
    suspects = {one.instance_id: why for one in watched if (why := _unhealthy(fleet, one))}
    # An instance that EC2 stopped looks unhealthy as well until Auto Scaling has noticed.
    if instance_id := _first_running(clients.ec2, suspects):
        return f"new instance {instance_id} did not stay healthy: {suspects[instance_id]}"
    left = set(watch.instances) - {one.instance_id for one in watched}
    return _taken_out(clients.autoscaling, fleet.group, left, watch.since) if left else None


def _unhealthy(fleet: Fleet, instance: Instance) -> str | None:
    if instance.lifecycle_state != "InService":
        return None
    for target in instance.targets:
        if target.target_group in fleet.target_groups and blamed(target):
            return f"target {target.state}: {target.reason}"
    if not fleet.target_groups and not instance.in_service:
        return f"Auto Scaling calls it {instance.health_status}"
    return None


def blamed(target: TargetHealth) -> bool:
    """Tell whether a target is unhealthy by itself.

    Reasons that begin with ``Elb.`` are the load balancer's own
    (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html).
    """
    return target.state.startswith("unhealthy") and not target.reason.startswith("Elb.")


def _first_running(ec2: EC2Client, instance_ids: Collection[str]) -> str | None:
    for instance_id in sorted(instance_ids):
        try:
            answer = ec2.describe_instances(InstanceIds=[instance_id])
        except ClientError as error:
            if error_code(error) == "InvalidInstanceID.NotFound":
                continue
            raise
        states = [one["State"]["Name"] for each in answer["Reservations"] for one in each["Instances"]]
        if states == ["running"]:
            return instance_id
    return None


def _taken_out(
    autoscaling: AutoScalingClient, group: str, instance_ids: set[str], since: float
) -> str | None:
    """Return why Auto Scaling took one of these instances out, if that speaks against their version."""
    answer = autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=100)
    for activity in answer["Activities"]:
        if activity["StartTime"].timestamp() < since - 1:  # told in whole seconds
            continue  # those in progress stand before newer ones
        gone = next((one for one in instance_ids if one in activity.get("Description", "")), None)
        if gone and BLAMED.search(activity["Cause"]):
            return f"new instance {gone} did not stay healthy: {' '.join(activity['Cause'].split())}"
    return None
