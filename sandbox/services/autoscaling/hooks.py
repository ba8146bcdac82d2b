"""Lifecycle hooks and lifecycle actions."""

from __future__ import annotations

from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.lifecycle import ABANDON, CONTINUE
from sandbox.model.autoscaling.state import LAUNCHING, TERMINATING, LifecycleAction, Member
from sandbox.services.autoscaling import parameters, shapes
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import ServiceError, validation_error

registry = Registry()
MAX_HOOKS = 50
_ACTION = ("LifecycleHookName", "AutoScalingGroupName", "LifecycleActionToken", "InstanceId")


@registry.action(
    "PutLifecycleHook",
    accepts=(
        "AutoScalingGroupName",
        "DefaultResult",
        "HeartbeatTimeout",
        "LifecycleHookName",
        "LifecycleTransition",
        "NotificationMetadata",
        "NotificationTargetARN",
        "RoleARN",
    ),
)
def put(account: Account, params: Params) -> dict[str, Any]:
    """Make or change a hook; actions that wait keep the hook they were held by."""
    group = account.groups.get(params["AutoScalingGroupName"])
    name = str(params["LifecycleHookName"])
    if name not in group.hooks and len(group.hooks) >= MAX_HOOKS:
        raise ServiceError("LimitExceeded", f"The group has {MAX_HOOKS} lifecycle hooks already.")
    group.hooks[name] = parameters.hook(params, group.hooks.get(name))
    return {}


@registry.action("DeleteLifecycleHook", accepts=("LifecycleHookName", "AutoScalingGroupName"))
def delete(account: Account, params: Params) -> dict[str, Any]:
    """Delete a hook."""
    group = account.groups.get(params["AutoScalingGroupName"])
    hook = group.hooks.get(params["LifecycleHookName"])
    if hook is None:
        raise validation_error(f"Lifecycle hook not found with name {params['LifecycleHookName']}")
    account.groups.lifecycle.delete_hook(group, hook)
    return {}


@registry.action("DescribeLifecycleHooks", accepts=("AutoScalingGroupName", "LifecycleHookNames"))
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe a group's hooks."""
    group = account.groups.get(params["AutoScalingGroupName"])
    names = params.get("LifecycleHookNames")
    hooks = [hook for name, hook in sorted(group.hooks.items()) if names is None or name in names]
    return {"LifecycleHooks": [shapes.hook(group, hook) for hook in hooks]}


@registry.action("DescribeLifecycleHookTypes")
def describe_types(_account: Account, _params: Params) -> dict[str, Any]:
    """List the transitions."""
    return {"LifecycleHookTypes": [LAUNCHING, TERMINATING]}


@registry.action("CompleteLifecycleAction", accepts=(*_ACTION, "LifecycleActionResult"))
def complete(account: Account, params: Params) -> dict[str, Any]:
    """End a wait with CONTINUE or ABANDON."""
    result = params["LifecycleActionResult"]
    if result not in {CONTINUE, ABANDON}:
        raise validation_error("LifecycleActionResult must be one of CONTINUE, ABANDON")
    member, action = _action(account, params)
    account.groups.lifecycle.complete(member, action, result)
    return {}


@registry.action("RecordLifecycleActionHeartbeat", accepts=_ACTION)
def heartbeat(account: Account, params: Params) -> dict[str, Any]:
    """Restart a wait's heartbeat timeout."""
    member, action = _action(account, params)
    account.groups.lifecycle.heartbeat(member, action)
    return {}


def _action(account: Account, params: Params) -> tuple[Member, LifecycleAction]:
    token, instance_id = params.get("LifecycleActionToken"), params.get("InstanceId")
    if token is None and instance_id is None:
        raise validation_error("Either LifecycleActionToken or InstanceId is required.")
    group = account.groups.get(params["AutoScalingGroupName"])
    return account.groups.lifecycle.find(
        group, params["LifecycleHookName"], token=token, instance_id=instance_id
    )
