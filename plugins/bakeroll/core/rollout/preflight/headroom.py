"""Whether an account's quotas have room for the instances that a rollout launches besides those that run.

Where a quota cannot be read that is said and nothing is refused: not every account lets deployments read
them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.aws import Clients, error_code

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

TYPES_A_CALL = 100
"""DescribeInstanceTypes takes at most 100 types (API reference, InstanceTypes)."""

STANDARD = "Standard"
FAMILIES = {
    **dict.fromkeys(("a", "c", "d", "h", "i", "im", "is", "m", "r", "t", "z"), STANDARD),
    **dict.fromkeys(("g", "gr", "vt"), "G and VT"),
    **{letters: letters.capitalize() for letters in ("f", "p", "x", "inf", "trn")},
    "dl": "DL",
}
"""Which kind of vCPUs an instance type counts as, by the letters that it begins with
(https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html)."""

VCPU_QUOTAS = {
    (STANDARD, "on-demand"): "L-1216C47A",
    ("G and VT", "on-demand"): "L-DB2E81BA",
    ("F", "on-demand"): "L-74FC7D96",
    ("P", "on-demand"): "L-417A185B",
    ("X", "on-demand"): "L-7295265B",
    ("Inf", "on-demand"): "L-1945791B",
    ("Trn", "on-demand"): "L-2C3B7624",
    ("DL", "on-demand"): "L-6E869C2A",
    (STANDARD, "spot"): "L-34B43A08",
    ("G and VT", "spot"): "L-3819A6DF",
    ("P", "spot"): "L-7212CCBC",
}
"""Quota codes of ``ec2`` by kind and market, as the Service Quotas console names them."""

TARGETS_PER_GROUP = "L-A0D0B863"
"""Code of ``elasticloadbalancing``: Targets per Target Group per Region
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html)."""

Pool = tuple[str, str]
"""Kind and market of vCPUs that have one quota together."""

DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True)
class Need:
    """What one fleet launches at once.

    :ivar instances: how many.
    :ivar types: instance types that any of them may have; empty if nobody can say.
    :ivar spot_percent: how many of a hundred are spot instances.
    """

    fleet: str
    instances: int
    types: tuple[str, ...]
    spot_percent: int = 0


@dataclass
class Findings:
    """What was found: problems stop a rollout, notes do not."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def need(fleet: str, instances: int, asg: AutoScalingGroupTypeDef, template: Mapping[str, Any]) -> Need:
    """Return what a fleet needs.

    :param instances: how many instances the largest step of its waves launches.
    :param asg: the group as DescribeAutoScalingGroups has it.
    :param template: data of the launch template version that it launches from.
    """
    policy = asg.get("MixedInstancesPolicy", {})
    overrides = policy.get("LaunchTemplate", {}).get("Overrides", [])
    own = template.get("InstanceType")
    types = {one.get("InstanceType", own) for one in overrides} if overrides else {own}
    if any("InstanceRequirements" in one for one in [*overrides, template]):
        types = set()  # AWS chooses among all that match
    if policy:
        spot = 100 - policy.get("InstancesDistribution", {}).get("OnDemandPercentageAboveBaseCapacity", 100)
    else:
        spot = 100 if template.get("InstanceMarketOptions", {}).get("MarketType") == "spot" else 0
    return Need(fleet, instances, tuple(sorted(str(one) for one in types if one)), spot)


def vcpus(clients: Clients, needs: Iterable[Need]) -> Findings:
    """Compare the vCPUs that run and those that come with the account's quotas.

    :param needs: what the fleets need, all at once, since they roll side by side.
    """
    found = Findings()
    wanted = [one for one in needs if one.instances and _can_be_said(one, found)]
    if not wanted:
        return found
    try:
        running = _running(clients)
        types = {kind for kind, _ in running} | {kind for one in wanted for kind in one.types}
        sizes = _sizes(clients, types)
    except ClientError as error:
        if error_code(error) not in DENIED:
            raise
        found.notes.append(f"vCPU quotas not looked at: {error}; apply terraform/access")
        return found
    used: Counter[Pool] = Counter()
    for (kind, market), count in running.items():
        used[_family(kind), market] += count * sizes[kind]
    least, most = _coming(wanted, sizes, min), _coming(wanted, sizes, max)
    fleets = ", ".join(one.fleet for one in wanted)
    for pool, coming in sorted(least.items()):
        what, code = " ".join((*pool, "vCPUs")), VCPU_QUOTAS.get(pool)
        if code is None:
            found.notes.append(f"quota of {what} not looked at: bakeroll does not know its code")
            continue
        limit = _quota(clients, found, "ec2", code, what)
        if limit is None or used[pool] + most[pool] <= limit:
            continue
        if used[pool] + coming <= limit:
            found.notes.append(
                f"fleet {fleets}: the quota of {what} is {limit:.0f} ({code}), {used[pool]} run: room for a "
                f"wave of the smallest instance types ({coming}), not of the largest ({most[pool]})"
            )
            continue
        found.problems.append(
            f"fleet {fleets}: {used[pool]} {what} run and a wave needs {coming} more, the account's quota is "
            f"{limit:.0f} ({code}); have it raised or take smaller waves"
        )
    return found


def target_group_name(arn: str) -> str:
    """Return the name in a target group's ARN, ``arn:…:targetgroup/<name>/<id>``."""
    return arn.split("/")[1]


def _can_be_said(one: Need, found: Findings) -> bool:
    """Tell whether it is known which quota a fleet's instances count towards, and note it if not."""
    families = {_family(kind) for kind in one.types}
    if len(families) == 1:
        return True
    why = "AWS chooses its instance types" if not families else f"it mixes {', '.join(sorted(families))}"
    found.notes.append(f"fleet {one.fleet}: vCPU quotas not looked at: {why}")
    return False


def targets(clients: Clients, groups: Iterable[str], instances: int) -> Findings:
    """Compare the targets that are registered and those that come with the quota of a target group.

    :param groups: ARNs of the fleet's target groups.
    :param instances: how many instances the largest step of its waves registers.
    """
    found = Findings()
    groups = list(groups)
    if not groups or not instances:
        return found
    limit = _quota(clients, found, "elasticloadbalancing", TARGETS_PER_GROUP, "targets per target group")
    if limit is None:
        return found
    for arn in groups:
        registered = len(clients.elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"])
        if registered + instances > limit:
            found.problems.append(
                f"target group {target_group_name(arn)} has {registered} targets, a wave adds {instances}, "
                f"its quota is {limit:.0f} ({TARGETS_PER_GROUP}); have it raised or take smaller waves"
            )
    return found


def _coming(
    wanted: Iterable[Need], sizes: Mapping[str, int], which: Callable[[Iterable[int]], int]
) -> Counter[Pool]:
    """Return the vCPUs that come.

    :param which: the size that is taken of those that an instance may have.
    """
    coming: Counter[Pool] = Counter()
    for one in wanted:
        size = which([sizes[kind] for kind in one.types])
        for market, percent in (("spot", one.spot_percent), ("on-demand", 100 - one.spot_percent)):
            if count := math.ceil(one.instances * percent / 100):
                coming[_family(one.types[0]), market] += count * size
    return coming


def _running(clients: Clients) -> Counter[tuple[str, str]]:
    """Count the account's instances by type and market; those on hosts of one's own have no vCPU quota."""
    found: Counter[tuple[str, str]] = Counter()
    pages = clients.ec2.get_paginator("describe_instances").paginate(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    )
    for page in pages:
        for reservation in page["Reservations"]:
            for one in reservation.get("Instances", []):
                if one.get("Placement", {}).get("Tenancy") != "host":
                    market = "spot" if one.get("InstanceLifecycle") == "spot" else "on-demand"
                    found[str(one["InstanceType"]), market] += 1
    return found


def _sizes(clients: Clients, types: Iterable[str]) -> dict[str, int]:
    """Return the vCPUs of instance types."""
    names: list[Any] = sorted(types)
    found: dict[str, int] = {}
    for start in range(0, len(names), TYPES_A_CALL):
        answer = clients.ec2.describe_instance_types(InstanceTypes=names[start : start + TYPES_A_CALL])
        found |= {
            str(one["InstanceType"]): one["VCpuInfo"]["DefaultVCpus"] for one in answer["InstanceTypes"]
        }
    return found


def _family(instance_type: str) -> str:
    """Return the kind of vCPUs that an instance type counts as."""
    beginning = re.split(r"[^a-z]", instance_type, maxsplit=1)[0]
    return FAMILIES.get(beginning, beginning)


def _quota(clients: Clients, found: Findings, service: str, code: str, what: str) -> float | None:
    """Return a quota's value, AWS's default where the account has none of its own; None if not readable."""
    quotas = clients.service_quotas
    try:
        try:
            answer: Any = quotas.get_service_quota(ServiceCode=service, QuotaCode=code)
        except ClientError as error:
            # Not all quotas have an applied value (API reference, ListServiceQuotas).
            if error_code(error) != "NoSuchResourceException":
                raise
            answer = quotas.get_aws_default_service_quota(ServiceCode=service, QuotaCode=code)
    except (ClientError, BotoCoreError) as error:
        found.notes.append(f"quota of {what} ({code}) not looked at: {error}")
        return None
    value: float = answer["Quota"]["Value"]
    return value
