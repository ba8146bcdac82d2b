"""Making, changing, deleting and describing groups, their sizes, processes and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import Group
from sandbox.services.autoscaling import mixed, parameters, shapes
from sandbox.services.autoscaling.paging import page_by_key
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import validation_error

registry = Registry()

_SETTINGS = (
    "AutoScalingGroupName",
    "AvailabilityZones",
    "Context",
    "DefaultCooldown",
    "DefaultInstanceWarmup",
    "DesiredCapacity",
    "HealthCheckGracePeriod",
    "HealthCheckType",
    "InstanceLifecyclePolicy",
    "LaunchTemplate",
    "MaxSize",
    "MinSize",
    "MixedInstancesPolicy",
    "NewInstancesProtectedFromScaleIn",
    "ServiceLinkedRoleARN",
    "TerminationPolicies",
    "VPCZoneIdentifier",
)


@registry.action(
    "CreateAutoScalingGroup",
    accepts=(*_SETTINGS, "LifecycleHookSpecificationList", "Tags", "TargetGroupARNs", "TrafficSources"),
    neutral=parameters.NEUTRAL,
)
def create(account: Account, params: Params) -> dict[str, Any]:
    """Make a group."""
    name = str(params["AutoScalingGroupName"])
    template, mixed_instances = mixed.launches_from(account, params, None)
    subnets = parameters.subnets(account, params)
    if not subnets:
        raise validation_error("At least one Availability Zone or VPC Subnet is required.")
    min_size = int(params["MinSize"])
    group = Group(
        name=name,
        arn=account.arn("autoscaling", f"autoScalingGroup:{account.new_id()}:autoScalingGroupName/{name}"),
        created=account.clock.now(),
        min_size=min_size,
        max_size=int(params["MaxSize"]),
        desired=int(params.get("DesiredCapacity", min_size)),
        template=template,
        mixed=mixed_instances,
        subnets=subnets,
        subnets_given="VPCZoneIdentifier" in params,
        tags=parameters.tag_map(params.get("Tags") or ()),
    )
    parameters.change(group, params)
    for each in params.get("LifecycleHookSpecificationList") or ():
        group.hooks[each["LifecycleHookName"]] = parameters.hook(each, None)
    for arn in (*(params.get("TargetGroupARNs") or ()), *parameters.traffic_sources(params)):
        account.groups.traffic.attach(group, arn)
    account.groups.add(group)
    return {}


@registry.action("UpdateAutoScalingGroup", accepts=_SETTINGS, neutral=parameters.NEUTRAL)
def update(account: Account, params: Params) -> dict[str, Any]:
    """Change a group; nothing is changed if anything is refused."""
    group = account.groups.get(params["AutoScalingGroupName"])
    launches_from = group.template, group.mixed
    if "LaunchTemplate" in params or "MixedInstancesPolicy" in params:
        launches_from = mixed.launches_from(account, params, group)
    subnets = parameters.subnets(account, params)
    parameters.termination_policies(params.get("TerminationPolicies") or ())
    parameters.health_check_type(str(params.get("HealthCheckType") or group.health_check_type))
    if "InstanceLifecyclePolicy" in params:
        parameters.retention(params["InstanceLifecyclePolicy"])
    account.groups.resize(
        group,
        min_size=params.get("MinSize"),
        max_size=params.get("MaxSize"),
        desired=params.get("DesiredCapacity"),
    )
    group.template, group.mixed = launches_from
    if subnets:
        group.subnets = subnets
        group.subnets_given = "VPCZoneIdentifier" in params
    parameters.change(group, params)
    account.groups.health.check_all(group)
    account.groups.capacity.wake(group, asked=True)
    return {}


@registry.action("DeleteAutoScalingGroup", accepts=("AutoScalingGroupName", "ForceDelete"))
def delete(account: Account, params: Params) -> dict[str, Any]:
    """Delete a group."""
    group = account.groups.get(params["AutoScalingGroupName"])
    account.groups.delete(group, force=bool(params.get("ForceDelete")))
    return {}


@registry.action(
    "DescribeAutoScalingGroups",
    accepts=("AutoScalingGroupNames", "IncludeInstances", "NextToken", "MaxRecords", "Filters"),
)
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe groups, by name or by tag."""
    names = params.get("AutoScalingGroupNames")
    found = (
        list(account.groups) if names is None else [g for n in set(names) if (g := account.groups.find(n))]
    )
    for condition in params.get("Filters") or ():
        test = _filter(condition)
        found = [group for group in found if test(group)]
    page, token = page_by_key(found, lambda group: group.name, params, default=50, limit=100)
    instances = bool(params.get("IncludeInstances", True))
    return {
        "AutoScalingGroups": [
            shapes.group(account, group, instances=instances) | mixed.launch_shape(group) for group in page
        ],
        **token,
    }


@registry.action(
    "SetDesiredCapacity",
    accepts=("AutoScalingGroupName", "DesiredCapacity"),
    neutral={"HonorCooldown": (False,)},
)
def set_desired_capacity(account: Account, params: Params) -> dict[str, Any]:
    """Set desired capacity."""
    group = account.groups.get(params["AutoScalingGroupName"])
    account.groups.set_desired(group, int(params["DesiredCapacity"]))
    return {}


@registry.action("SuspendProcesses", accepts=("AutoScalingGroupName", "ScalingProcesses"))
def suspend_processes(account: Account, params: Params) -> dict[str, Any]:
    """Suspend processes, all if none is named."""
    group = account.groups.get(params["AutoScalingGroupName"])
    account.groups.suspend(group, parameters.processes(params.get("ScalingProcesses") or ()))
    return {}


@registry.action("ResumeProcesses", accepts=("AutoScalingGroupName", "ScalingProcesses"))
def resume_processes(account: Account, params: Params) -> dict[str, Any]:
    """Resume processes, all if none is named."""
    group = account.groups.get(params["AutoScalingGroupName"])
    account.groups.resume(group, parameters.processes(params.get("ScalingProcesses") or ()))
    return {}


@registry.action("EnableMetricsCollection", accepts=("AutoScalingGroupName", "Metrics", "Granularity"))
def enable_metrics_collection(account: Account, params: Params) -> dict[str, Any]:
    """Note which metrics are wanted."""
    group = account.groups.get(params["AutoScalingGroupName"])
    if params["Granularity"] != "1Minute":
        raise validation_error("The only valid value for Granularity is 1Minute.")
    for metric in params.get("Metrics") or METRICS:
        if metric not in METRICS:
            raise validation_error(f"Invalid metric: {metric}")
        group.metrics[metric] = "1Minute"
    return {}


@registry.action("DisableMetricsCollection", accepts=("AutoScalingGroupName", "Metrics"))
def disable_metrics_collection(account: Account, params: Params) -> dict[str, Any]:
    """Note which metrics are no longer wanted."""
    group = account.groups.get(params["AutoScalingGroupName"])
    for metric in params.get("Metrics") or METRICS:
        group.metrics.pop(metric, None)
    return {}


METRICS = (
    "GroupAndWarmPoolDesiredCapacity",
    "GroupAndWarmPoolTotalCapacity",
    "GroupDesiredCapacity",
    "GroupInServiceCapacity",
    "GroupInServiceInstances",
    "GroupMaxSize",
    "GroupMinSize",
    "GroupPendingCapacity",
    "GroupPendingInstances",
    "GroupStandbyCapacity",
    "GroupStandbyInstances",
    "GroupTerminatingCapacity",
    "GroupTerminatingInstances",
    "GroupTotalCapacity",
    "GroupTotalInstances",
    "WarmPoolDesiredCapacity",
    "WarmPoolMinSize",
    "WarmPoolPendingCapacity",
    "WarmPoolTerminatingCapacity",
    "WarmPoolTotalCapacity",
    "WarmPoolWarmedCapacity",
)


def _filter(condition: Mapping[str, Any]) -> Callable[[Group], bool]:
    name, values = str(condition["Name"]), set(condition.get("Values") or ())
    if name == "tag-key":
        return lambda group: not values.isdisjoint(group.tags)
    if name == "tag-value":
        return lambda group: any(tag.value in values for tag in group.tags.values())
    if name.startswith("tag:"):
        key = name.removeprefix("tag:")
        return lambda group: key in group.tags and group.tags[key].value in values
    raise validation_error(
        f"Filter type {name} is not correct. Allowed Filter types are: tag-key,tag-value,tag:<key>"
    )
