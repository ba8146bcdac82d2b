"""Activities, and what there is none of."""

from __future__ import annotations

from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import PROCESSES, TERMINATION_POLICIES, Activity
from sandbox.services.autoscaling import shapes
from sandbox.services.autoscaling.paging import page_by_place
from sandbox.services.autoscaling.registry import Params, Registry

registry = Registry()


@registry.action(
    "DescribeScalingActivities",
    accepts=("ActivityIds", "AutoScalingGroupName", "IncludeDeletedGroups", "MaxRecords", "NextToken"),
)
def describe_scaling_activities(account: Account, params: Params) -> dict[str, Any]:
    """Describe activities: those in progress first, then the newest first."""
    deleted = account.groups.deleted_activities if params.get("IncludeDeletedGroups") else []
    if "AutoScalingGroupName" in params:
        name = params["AutoScalingGroupName"]
        group = account.groups.find(name)
        if group is None and not any(each.group_name == name for each in deleted):
            account.groups.get(name)
        found = [each for each in deleted if each.group_name == name]
        found += group.activities if group is not None else []
    else:
        every = [each for group in account.groups for each in group.activities]
        found = sorted([*deleted, *every], key=lambda each: each.started)
    if "ActivityIds" in params:
        wanted = set(params["ActivityIds"])
        found = [each for each in found if each.activity_id in wanted]
    page, token = page_by_place(_newest_first(found), params, default=100, limit=100)
    return {"Activities": [shapes.activity(each) for each in page], **token}


@registry.action("DescribeAccountLimits")
def describe_account_limits(account: Account, _params: Params) -> dict[str, Any]:
    """Describe the default quotas."""
    return {
        "MaxNumberOfAutoScalingGroups": 500,
        "MaxNumberOfLaunchConfigurations": 200,
        "NumberOfAutoScalingGroups": len(account.groups),
        "NumberOfLaunchConfigurations": 0,
    }


@registry.action("DescribeTerminationPolicyTypes")
def describe_termination_policy_types(_account: Account, _params: Params) -> dict[str, Any]:
    """List the termination policies that are modelled."""
    return {"TerminationPolicyTypes": list(TERMINATION_POLICIES)}


@registry.action("DescribeScalingProcessTypes")
def describe_scaling_process_types(_account: Account, _params: Params) -> dict[str, Any]:
    """List the processes."""
    return {"Processes": [{"ProcessName": process} for process in PROCESSES]}


@registry.action(
    "DescribeInstanceRefreshes",
    accepts=("AutoScalingGroupName", "InstanceRefreshIds", "NextToken", "MaxRecords"),
)
def describe_instance_refreshes(account: Account, params: Params) -> dict[str, Any]:
    """Describe no instance refresh."""
    account.groups.get(params["AutoScalingGroupName"])
    return {"InstanceRefreshes": []}


@registry.action(
    "DescribeNotificationConfigurations", accepts=("AutoScalingGroupNames", "NextToken", "MaxRecords")
)
def describe_notification_configurations(_account: Account, _params: Params) -> dict[str, Any]:
    """Describe no notification."""
    return {"NotificationConfigurations": []}


@registry.action(
    "DescribeScheduledActions",
    accepts=(
        "AutoScalingGroupName",
        "EndTime",
        "MaxRecords",
        "NextToken",
        "ScheduledActionNames",
        "StartTime",
    ),
)
def describe_scheduled_actions(_account: Account, _params: Params) -> dict[str, Any]:
    """Describe no scheduled action."""
    return {"ScheduledUpdateGroupActions": []}


@registry.action(
    "DescribeLaunchConfigurations", accepts=("LaunchConfigurationNames", "NextToken", "MaxRecords")
)
def describe_launch_configurations(_account: Account, _params: Params) -> dict[str, Any]:
    """Describe no launch configuration: new accounts cannot make any."""
    return {"LaunchConfigurations": []}


def _newest_first(found: list[Activity]) -> list[Activity]:
    newest = found[::-1]
    running = [each for each in newest if each.ended is None]
    return running + [each for each in newest if each.ended is not None]
