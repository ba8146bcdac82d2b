"""Reading the parameters that groups are made and changed with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import (
    LAUNCHING,
    PROCESSES,
    TERMINATING,
    TERMINATION_POLICIES,
    Group,
    Hook,
    Tag,
    TemplateRef,
)
from sandbox.model.ports import LaunchError
from sandbox.services.autoscaling.registry import Params
from sandbox.services.errors import not_modelled, validation_error

NEUTRAL: Mapping[str, Iterable[Any]] = {
    "CapacityRebalance": (False,),
    "DesiredCapacityType": ("units",),
    "PlacementGroup": ("",),
    "MaxInstanceLifetime": (0,),
    "InstanceMaintenancePolicy": ({"MinHealthyPercentage": -1, "MaxHealthyPercentage": -1},),
    "AvailabilityZoneDistribution": ({"CapacityDistributionStrategy": "balanced-best-effort"},),
    "CapacityReservationSpecification": ({"CapacityReservationPreference": "default"},),
    "AvailabilityZoneImpairmentPolicy": ({"ZonalShiftEnabled": False},),
    "DeletionProtection": ("none",),
    "SkipZonalShiftValidation": (False, True),  # without zonal shift there is nothing to skip
}


def template_ref(account: Account, spec: Mapping[str, Any]) -> TemplateRef:
    """Read a ``LaunchTemplateSpecification``.

    :raises ServiceError: ``ValidationError`` if there is no such template or version.
    """
    wanted = spec.get("LaunchTemplateId") or spec.get("LaunchTemplateName")
    if not wanted or (spec.get("LaunchTemplateId") and spec.get("LaunchTemplateName")):
        raise validation_error("Valid requests must contain either launchTemplateId or LaunchTemplateName")
    version = str(spec.get("Version") or "$Default")
    try:
        template_id, name, _number, _data = account.templates.resolve(str(wanted), version)
    except LaunchError as refusal:
        message = f"You must use a valid fully-formed launch template. {refusal.message}"
        raise validation_error(message) from None
    return TemplateRef(template_id=template_id, name=name, version=version)


def subnets(account: Account, params: Params) -> dict[str, str]:
    """Read ``VPCZoneIdentifier`` or ``AvailabilityZones``.

    :return: availability zone by subnet id; empty if neither is given.
    :raises ServiceError: ``ValidationError`` if a subnet is unknown.
    """
    zones = [str(zone) for zone in params.get("AvailabilityZones") or ()]
    named = [each.strip() for each in str(params.get("VPCZoneIdentifier") or "").split(",") if each.strip()]
    found: dict[str, str] = {}
    for subnet_id in named:
        try:
            found[subnet_id] = account.subnets.zone(subnet_id)
        except KeyError:
            raise validation_error(f"The subnet ID '{subnet_id}' does not exist") from None
    if named and zones and set(zones) != set(found.values()):
        raise validation_error(
            "The availability zones of the specified subnets and the Auto Scaling group do not match"
        )
    if not named:
        for zone in zones:
            try:
                found[account.subnets.default(zone)] = zone
            except KeyError:
                raise validation_error(f"No default subnet for availability zone: '{zone}'.") from None
    return found


def termination_policies(names: Iterable[str]) -> tuple[str, ...]:
    """Read ``TerminationPolicies``."""
    policies = tuple(names)
    for policy in policies:
        if policy not in TERMINATION_POLICIES:
            raise not_modelled(f"The termination policy {policy}")
    return policies or ("Default",)


def health_check_type(text: str) -> str:
    """Read ``HealthCheckType``: ``EC2``, ``ELB`` or both with a comma."""
    if not set(text.split(",")) <= {"EC2", "ELB"}:
        raise not_modelled(f"The health check type {text}")
    return text


def retention(policy: Mapping[str, Any]) -> bool:
    """Read ``InstanceLifecyclePolicy``; tells whether abandoned instances are retained."""
    trigger = (policy.get("RetentionTriggers") or {}).get("TerminateHookAbandon")
    if trigger not in {"retain", "terminate"}:
        raise validation_error(f"TerminateHookAbandon must be one of retain, terminate, not {trigger}")
    return bool(trigger == "retain")


def processes(names: Iterable[str]) -> list[str]:
    """Read ``ScalingProcesses``."""
    wanted = list(names)
    unknown = [name for name in wanted if name not in PROCESSES]
    if unknown:
        raise validation_error(f"Invalid process type(s): {', '.join(unknown)}")
    return wanted


def traffic_sources(params: Mapping[str, Any]) -> list[str]:
    """Read ``TrafficSources``: the ARNs of target groups."""
    sources = params.get("TrafficSources") or []
    for source in sources:
        if source.get("Type", "elbv2") != "elbv2":
            raise not_modelled(f"A traffic source of type {source['Type']}")
    return [str(source["Identifier"]) for source in sources]


def tag_map(tags: Iterable[Mapping[str, Any]]) -> dict[str, Tag]:
    """Read the tags of a group that is being made."""
    return {
        str(tag["Key"]): Tag(value=str(tag.get("Value") or ""), propagate=bool(tag.get("PropagateAtLaunch")))
        for tag in tags
    }


def hook(params: Mapping[str, Any], before: Hook | None) -> Hook:
    """Read a hook; what is not given stays as it was."""
    for key in ("NotificationTargetARN", "RoleARN"):
        if params.get(key):
            raise not_modelled(f"The parameter {key} of a lifecycle hook (EventBridge gets every action)")
    transition = params.get("LifecycleTransition") or (before.transition if before else None)
    if transition not in {LAUNCHING, TERMINATING}:
        raise validation_error(
            "Lifecycle Transition must be one of autoscaling:EC2_INSTANCE_LAUNCHING, "
            f"autoscaling:EC2_INSTANCE_TERMINATING, not {transition}"
        )
    made = Hook(name=str(params["LifecycleHookName"]), transition=transition)
    if before is not None:
        made.heartbeat_timeout_seconds = before.heartbeat_timeout_seconds
        made.default_result = before.default_result
        made.notification_metadata = before.notification_metadata
    made.heartbeat_timeout_seconds = int(params.get("HeartbeatTimeout") or made.heartbeat_timeout_seconds)
    made.default_result = str(params.get("DefaultResult") or made.default_result)
    made.notification_metadata = params.get("NotificationMetadata") or made.notification_metadata
    if not 30 <= made.heartbeat_timeout_seconds <= 7200:
        raise validation_error("Heartbeat timeout must be between 30 and 7200 seconds")
    if made.default_result not in {"CONTINUE", "ABANDON"}:
        raise validation_error("Default result must be one of CONTINUE, ABANDON")
    return made


def change(group: Group, params: Params) -> None:
    """Set what needs no thought: plain settings of a group that were checked before."""
    plain = {
        "DefaultCooldown": "default_cooldown",
        "DefaultInstanceWarmup": "default_instance_warmup",
        "HealthCheckGracePeriod": "health_check_grace_seconds",
        "NewInstancesProtectedFromScaleIn": "protect_new",
        "ServiceLinkedRoleARN": "service_linked_role_arn",
        "Context": "context",
    }
    for key, attribute in plain.items():
        if key in params:
            setattr(group, attribute, params[key])
    if "HealthCheckType" in params:
        group.health_check_type = health_check_type(str(params["HealthCheckType"]))
    if "TerminationPolicies" in params:
        group.termination_policies = termination_policies(params["TerminationPolicies"])
    if "InstanceLifecyclePolicy" in params:
        group.retain_abandoned = retention(params["InstanceLifecyclePolicy"])
