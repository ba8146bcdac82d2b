"""Groups, instances, hooks and activities in botocore's output shapes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import Activity, Group, Hook, Member, TemplateRef

Shape = dict[str, Any]


def moment(seconds: float) -> datetime:
    """Return a time as botocore has it."""
    return datetime.fromtimestamp(seconds, UTC)


def template(ref: TemplateRef) -> Shape:
    """Return a ``LaunchTemplateSpecification``."""
    return {"LaunchTemplateId": ref.template_id, "LaunchTemplateName": ref.name, "Version": ref.version}


def group_instance(member: Member) -> Shape:
    """Return an ``Instance`` of DescribeAutoScalingGroups."""
    shape: Shape = {
        "InstanceId": member.instance_id,
        "InstanceType": member.instance_type,
        "AvailabilityZone": member.zone,
        "LifecycleState": member.state,
        "HealthStatus": member.health,
        "ProtectedFromScaleIn": member.protected,
        "ImageId": member.image_id,
    }
    if member.template is not None:
        shape["LaunchTemplate"] = template(member.template)
    return shape


def described_instance(member: Member) -> Shape:
    """Return an ``AutoScalingInstanceDetails``, whose health status is in capitals."""
    shape = group_instance(member)
    return shape | {"AutoScalingGroupName": member.group.name, "HealthStatus": member.health.upper()}


def activity(each: Activity) -> Shape:
    """Return an ``Activity``."""
    shape: Shape = {
        "ActivityId": each.activity_id,
        "AutoScalingGroupName": each.group_name,
        "AutoScalingGroupARN": each.group_arn,
        "Description": each.description,
        "Cause": each.cause,
        "StartTime": moment(each.started),
        "StatusCode": each.status,
        "Progress": each.progress,
        "Details": each.details,
    }
    if each.ended is not None:
        shape["EndTime"] = moment(each.ended)
    if each.message is not None:
        shape["StatusMessage"] = each.message
    return shape


def hook(group: Group, each: Hook) -> Shape:
    """Return a ``LifecycleHook``."""
    shape: Shape = {
        "LifecycleHookName": each.name,
        "AutoScalingGroupName": group.name,
        "LifecycleTransition": each.transition,
        "HeartbeatTimeout": each.heartbeat_timeout_seconds,
        "GlobalTimeout": each.global_timeout_seconds,
        "DefaultResult": each.default_result,
    }
    if each.notification_metadata is not None:
        shape["NotificationMetadata"] = each.notification_metadata
    return shape


def tags(each: Group) -> list[Shape]:
    """Return a group's ``TagDescription`` list."""
    return [
        {
            "ResourceId": each.name,
            "ResourceType": "auto-scaling-group",
            "Key": key,
            "Value": tag.value,
            "PropagateAtLaunch": tag.propagate,
        }
        for key, tag in sorted(each.tags.items())
    ]


def group(account: Account, each: Group, *, instances: bool) -> Shape:
    """Return an ``AutoScalingGroup``, but for what it launches from."""
    shape: Shape = {
        "AutoScalingGroupName": each.name,
        "AutoScalingGroupARN": each.arn,
        "MinSize": each.min_size,
        "MaxSize": each.max_size,
        "DesiredCapacity": each.desired,
        "DefaultCooldown": each.default_cooldown,
        "AvailabilityZones": each.zones,
        "LoadBalancerNames": [],
        "TargetGroupARNs": list(each.target_groups),
        "HealthCheckType": each.health_check_type,
        "HealthCheckGracePeriod": each.health_check_grace_seconds,
        "Instances": [group_instance(member) for member in each.members.values()] if instances else [],
        "CreatedTime": moment(each.created),
        "SuspendedProcesses": [
            {"ProcessName": process, "SuspensionReason": reason}
            for process, reason in sorted(each.suspended.items())
        ],
        "VPCZoneIdentifier": ",".join(each.subnets) if each.subnets_given else "",
        "EnabledMetrics": [
            {"Metric": metric, "Granularity": granularity}
            for metric, granularity in sorted(each.metrics.items())
        ],
        "Tags": tags(each),
        "TerminationPolicies": list(each.termination_policies),
        "NewInstancesProtectedFromScaleIn": each.protect_new,
        "ServiceLinkedRoleARN": each.service_linked_role_arn or service_linked_role(account),
        "CapacityRebalance": False,
        "TrafficSources": [{"Identifier": arn, "Type": "elbv2"} for arn in each.target_groups],
    }
    optional = {
        "Status": "Delete in progress" if each.deleting else None,
        "Context": each.context,
        "DefaultInstanceWarmup": each.default_instance_warmup,
        "WarmPoolConfiguration": warm_pool(each),
        "WarmPoolSize": None if each.warm_pool is None else len(each.pool),
        "InstanceLifecyclePolicy": None
        if each.retain_abandoned is None
        else {
            "RetentionTriggers": {"TerminateHookAbandon": "retain" if each.retain_abandoned else "terminate"}
        },
    }
    return shape | {key: value for key, value in optional.items() if value is not None}


def warm_pool(each: Group) -> Shape | None:
    """Return a ``WarmPoolConfiguration``, None if the group has no warm pool."""
    pool = each.warm_pool
    if pool is None:
        return None
    shape: Shape = {"MinSize": pool.min_size, "PoolState": pool.state}
    if pool.prepared is not None:
        shape["MaxGroupPreparedCapacity"] = pool.prepared
    if pool.deleting:
        shape["Status"] = "PendingDelete"
    return shape


def service_linked_role(account: Account) -> str:
    """Return the ARN of the role that Auto Scaling uses if none is named."""
    path = "aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    return f"arn:aws:iam::{account.account_id}:role/{path}"
