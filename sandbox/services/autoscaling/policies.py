"""Scaling policies: kept and described; nothing in the sandbox raises the alarms that would run them."""

from __future__ import annotations

from typing import Any

from sandbox.model.account import Account
from sandbox.services.autoscaling.paging import page_by_place
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import validation_error

registry = Registry()
_TYPES = ("SimpleScaling", "StepScaling", "TargetTrackingScaling", "PredictiveScaling")
_KEPT = (
    "AdjustmentType",
    "AutoScalingGroupName",
    "Cooldown",
    "Enabled",
    "EstimatedInstanceWarmup",
    "MetricAggregationType",
    "MinAdjustmentMagnitude",
    "MinAdjustmentStep",
    "PolicyName",
    "PolicyType",
    "PredictiveScalingConfiguration",
    "ScalingAdjustment",
    "StepAdjustments",
    "TargetTrackingConfiguration",
)


@registry.action("PutScalingPolicy", accepts=_KEPT)
def put(account: Account, params: Params) -> dict[str, Any]:
    """Keep a policy."""
    group = account.groups.get(params["AutoScalingGroupName"])
    name = str(params["PolicyName"])
    policy = {"PolicyType": "SimpleScaling", "Enabled": True, **params, "Alarms": []}
    if policy["PolicyType"] not in _TYPES:
        raise validation_error(f"Policy type must be one of {', '.join(_TYPES)}")
    if policy["PolicyType"] == "TargetTrackingScaling" and "TargetTrackingConfiguration" not in params:
        raise validation_error("TargetTrackingConfiguration must be specified for a target tracking policy.")
    before = group.policies.get(name)
    resource = f"scalingPolicy:{account.new_id()}:autoScalingGroupName/{group.name}:policyName/{name}"
    policy["PolicyARN"] = before["PolicyARN"] if before else account.arn("autoscaling", resource)
    group.policies[name] = policy
    return {"PolicyARN": policy["PolicyARN"], "Alarms": []}


@registry.action(
    "DescribePolicies",
    accepts=("AutoScalingGroupName", "PolicyNames", "PolicyTypes", "NextToken", "MaxRecords"),
)
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe policies."""
    if "AutoScalingGroupName" in params:
        groups = [account.groups.get(params["AutoScalingGroupName"])]
    else:
        groups = sorted(account.groups, key=lambda group: group.name)
    names, types = params.get("PolicyNames"), params.get("PolicyTypes")
    found = [
        policy
        for group in groups
        for _name, policy in sorted(group.policies.items())
        if (names is None or policy["PolicyName"] in names or policy["PolicyARN"] in names)
        and (types is None or policy["PolicyType"] in types)
    ]
    page, token = page_by_place(found, params, default=50, limit=100)
    return {"ScalingPolicies": list(page), **token}


@registry.action("DeletePolicy", accepts=("AutoScalingGroupName", "PolicyName"))
def delete(account: Account, params: Params) -> dict[str, Any]:
    """Forget a policy, by name or ARN."""
    wanted = params["PolicyName"]
    groups = list(account.groups)
    if "AutoScalingGroupName" in params:
        groups = [account.groups.get(params["AutoScalingGroupName"])]
    for group in groups:
        for name, policy in list(group.policies.items()):
            if wanted == policy["PolicyARN"] or ("AutoScalingGroupName" in params and wanted == name):
                del group.policies[name]
    return {}
