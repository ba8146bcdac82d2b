"""Target groups of a group, under both of their names: load balancer target groups and traffic sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import Group
from sandbox.services.autoscaling.paging import page_by_key
from sandbox.services.autoscaling.parameters import traffic_sources
from sandbox.services.autoscaling.registry import Params, Registry

registry = Registry()
_PAGED = ("AutoScalingGroupName", "NextToken", "MaxRecords")


@registry.action("AttachLoadBalancerTargetGroups", accepts=("AutoScalingGroupName", "TargetGroupARNs"))
def attach_target_groups(account: Account, params: Params) -> dict[str, Any]:
    """Attach target groups."""
    return _attach(account, params, params.get("TargetGroupARNs") or ())


@registry.action("DetachLoadBalancerTargetGroups", accepts=("AutoScalingGroupName", "TargetGroupARNs"))
def detach_target_groups(account: Account, params: Params) -> dict[str, Any]:
    """Detach target groups."""
    return _detach(account, params, params.get("TargetGroupARNs") or ())


@registry.action(
    "AttachTrafficSources",
    accepts=("AutoScalingGroupName", "TrafficSources"),
    neutral={"SkipZonalShiftValidation": (False, True)},
)
def attach_traffic_sources(account: Account, params: Params) -> dict[str, Any]:
    """Attach target groups."""
    return _attach(account, params, traffic_sources(params))


@registry.action("DetachTrafficSources", accepts=("AutoScalingGroupName", "TrafficSources"))
def detach_traffic_sources(account: Account, params: Params) -> dict[str, Any]:
    """Detach target groups."""
    return _detach(account, params, traffic_sources(params))


@registry.action("DescribeLoadBalancerTargetGroups", accepts=_PAGED)
def describe_target_groups(account: Account, params: Params) -> dict[str, Any]:
    """Describe attachments."""
    page, token = _attachments(account, params)
    found = [{"LoadBalancerTargetGroupARN": arn, "State": state} for arn, state in page]
    return {"LoadBalancerTargetGroups": found, **token}


@registry.action("DescribeTrafficSources", accepts=(*_PAGED, "TrafficSourceType"))
def describe_traffic_sources(account: Account, params: Params) -> dict[str, Any]:
    """Describe attachments."""
    if params.get("TrafficSourceType", "elbv2") != "elbv2":
        return {"TrafficSources": []}
    page, token = _attachments(account, params)
    found = [
        {"TrafficSource": arn, "Identifier": arn, "Type": "elbv2", "State": state} for arn, state in page
    ]
    return {"TrafficSources": found, **token}


@registry.action("DescribeLoadBalancers", accepts=_PAGED)
def describe_load_balancers(account: Account, params: Params) -> dict[str, Any]:
    """Describe attached Classic Load Balancers: there are none."""
    account.groups.get(params["AutoScalingGroupName"])
    return {"LoadBalancers": []}


def _attachments(account: Account, params: Params) -> tuple[list[tuple[str, str]], dict[str, str]]:
    group: Group = account.groups.get(params["AutoScalingGroupName"])
    states = {
        arn: account.groups.traffic.state(group, arn)
        for arn in (*group.target_groups, *group.leaving_target_groups)
    }
    found = [(arn, state) for arn, state in states.items() if state is not None]
    return page_by_key(found, lambda each: each[0], params, default=100, limit=100)


def _attach(account: Account, params: Params, arns: Iterable[str]) -> dict[str, Any]:
    group = account.groups.get(params["AutoScalingGroupName"])
    for arn in arns:
        account.groups.traffic.attach(group, arn)
    return {}


def _detach(account: Account, params: Params, arns: Iterable[str]) -> dict[str, Any]:
    group = account.groups.get(params["AutoScalingGroupName"])
    for arn in arns:
        account.groups.traffic.detach(group, arn)
    return {}
