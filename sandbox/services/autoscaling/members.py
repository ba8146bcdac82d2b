"""What is done to single instances of a group."""

from __future__ import annotations

from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.health import USER_CAUSE
from sandbox.model.autoscaling.state import Member
from sandbox.services.autoscaling import shapes
from sandbox.services.autoscaling.paging import page_by_key
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import validation_error

registry = Registry()
MAX_IDS = 50
_PROTECTABLE = frozenset({"InService", "EnteringStandby", "Standby"})
_NAMED = ("AutoScalingGroupName", "InstanceIds")


@registry.action("DescribeAutoScalingInstances", accepts=("InstanceIds", "MaxRecords", "NextToken"))
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe instances of all groups; unknown ids are left out."""
    ids = params.get("InstanceIds")
    members = list(account.groups.members())
    if ids is not None:
        _limit(ids)
        members = [member for each in set(ids) if (member := account.groups.member(each)) is not None]
    page, token = page_by_key(members, lambda member: member.instance_id, params, default=50, limit=50)
    return {"AutoScalingInstances": [shapes.described_instance(member) for member in page], **token}


@registry.action(
    "TerminateInstanceInAutoScalingGroup", accepts=("InstanceId", "ShouldDecrementDesiredCapacity")
)
def terminate(account: Account, params: Params) -> dict[str, Any]:
    """End one instance."""
    member = account.groups.member(str(params.get("InstanceId")))
    if member is None:
        raise validation_error(
            f"Instance Id not found - No managed instance found for instance ID: {params.get('InstanceId')}"
        )
    activity = account.groups.terminate(member, decrement=bool(params["ShouldDecrementDesiredCapacity"]))
    return {"Activity": shapes.activity(activity)}


@registry.action("SetInstanceProtection", accepts=(*_NAMED, "ProtectedFromScaleIn"))
def set_instance_protection(account: Account, params: Params) -> dict[str, Any]:
    """Protect instances from scale-in, or no longer; all or none."""
    members = _members(account, params)
    for member in members:
        if member.state not in _PROTECTABLE:
            raise validation_error(
                f"The instance {member.instance_id} is not in InService or EnteringStandby or Standby."
            )
    for member in members:
        member.protected = bool(params["ProtectedFromScaleIn"])
    account.groups.capacity.wake(members[0].group)
    return {}


@registry.action("SetInstanceHealth", accepts=("InstanceId", "HealthStatus", "ShouldRespectGracePeriod"))
def set_instance_health(account: Account, params: Params) -> dict[str, Any]:
    """Call an instance healthy or unhealthy."""
    member = account.groups.member(params["InstanceId"])
    if member is None:
        raise validation_error(
            f"Instance Id not found - No managed instance found for instance ID: {params['InstanceId']}"
        )
    if params["HealthStatus"] == "Healthy":
        member.health = "Healthy"
    elif params["HealthStatus"] == "Unhealthy":
        respect = bool(params.get("ShouldRespectGracePeriod", True))
        if not respect or account.clock.now() >= member.grace_until:
            account.groups.health.mark(member, USER_CAUSE)
    else:
        raise validation_error("Health status must be one of Healthy, Unhealthy")
    return {}


@registry.action("EnterStandby", accepts=(*_NAMED, "ShouldDecrementDesiredCapacity"))
def enter_standby(account: Account, params: Params) -> dict[str, Any]:
    """Put instances into standby."""
    decrement = bool(params["ShouldDecrementDesiredCapacity"])
    made = account.groups.standby.enter(_members(account, params), decrement=decrement)
    return {"Activities": [shapes.activity(each) for each in made]}


@registry.action("ExitStandby", accepts=_NAMED)
def exit_standby(account: Account, params: Params) -> dict[str, Any]:
    """Put instances back into service."""
    made = account.groups.standby.exit(_members(account, params))
    return {"Activities": [shapes.activity(each) for each in made]}


@registry.action("AttachInstances", accepts=_NAMED)
def attach_instances(account: Account, params: Params) -> dict[str, Any]:
    """Put running instances into a group."""
    group = account.groups.get(params["AutoScalingGroupName"])
    ids = _limit(params.get("InstanceIds") or [])
    instances = [instance for each in ids if (instance := account.instances.find(each)) is not None]
    if len(instances) != len(ids):
        raise validation_error(f"Invalid Instance ID(s): {', '.join(ids)}")
    account.groups.standby.attach(group, instances)
    return {}


@registry.action("DetachInstances", accepts=(*_NAMED, "ShouldDecrementDesiredCapacity"))
def detach_instances(account: Account, params: Params) -> dict[str, Any]:
    """Take instances out of a group."""
    decrement = bool(params["ShouldDecrementDesiredCapacity"])
    made = account.groups.standby.detach(_members(account, params), decrement=decrement)
    return {"Activities": [shapes.activity(each) for each in made]}


def _members(account: Account, params: Params) -> list[Member]:
    group = account.groups.get(params["AutoScalingGroupName"])
    members = []
    for instance_id in _limit(params.get("InstanceIds") or []):
        member = group.members.get(instance_id)
        if member is None:
            raise validation_error(
                f"The instance {instance_id} is not part of Auto Scaling group {group.name}."
            )
        members.append(member)
    return members


def _limit(ids: list[str]) -> list[str]:
    if not 1 <= len(ids) <= MAX_IDS:
        raise validation_error(
            f"The number of instance ids should be between 1 and {MAX_IDS}, not {len(ids)}."
        )
    return list(dict.fromkeys(ids))
