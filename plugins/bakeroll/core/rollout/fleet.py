"""A fresh, immutable picture of one fleet, and the questions that are asked of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, canonical, error_code
from bakeroll.core.errors import FleetError, GroupMissingError
from bakeroll.core.rollout import shapes
from bakeroll.core.rollout.health import TargetHealth, target_health

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import (
        AutoScalingGroupTypeDef,
        InstanceTypeDef,
        LaunchTemplateSpecificationTypeDef,
    )
    from mypy_boto3_ec2 import EC2Client

COUNTED_STATES = frozenset({"Pending", "Pending:Wait", "Pending:Proceed", "InService"})
"""Lifecycle states that count towards desired capacity
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html)."""

STANDBY_STATES = frozenset({"EnteringStandby", "Standby"})

VERSIONS_A_CALL = 200
"""DescribeLaunchTemplateVersions answers at most 200 versions at once (API reference, MaxResults)."""


@dataclass(frozen=True)
class Instance:
    """One instance of an Auto Scaling group.

    :ivar current: whether it was launched from the data that the group launches from now, and is not one
        that is to be replaced all the same.
    :ivar in_service: whether Auto Scaling says InService and Healthy.
    :ivar targets: its health, one entry for each target group it is registered in.
    """

    instance_id: str
    lifecycle_state: str
    health_status: str
    current: bool
    protected: bool
    targets: tuple[TargetHealth, ...] = ()

    @property
    def counted(self) -> bool:
        """Whether it counts towards desired capacity."""
        return self.lifecycle_state in COUNTED_STATES

    @property
    def in_service(self) -> bool:
        """Whether Auto Scaling holds it for in service and healthy."""
        return self.lifecycle_state == "InService" and self.health_status.lower() == "healthy"


@dataclass(frozen=True)
class Fleet:
    """One Auto Scaling group at one moment.

    :ivar image_id: what the group launches now; empty where its launch template names no image.
    """

    name: str
    group: str
    minimum: int
    maximum: int
    desired: int
    template_id: str
    template_version: str
    new_instances_protected: bool
    suspended: frozenset[str]
    target_groups: tuple[str, ...]
    instances: tuple[Instance, ...] = field(repr=False)
    image_id: str = ""

    @cached_property
    def counted(self) -> tuple[Instance, ...]:
        """Instances that count towards desired capacity."""
        return tuple(instance for instance in self.instances if instance.counted)

    @cached_property
    def current(self) -> tuple[Instance, ...]:
        """Counted instances that run what the group launches now."""
        return tuple(instance for instance in self.counted if instance.current)

    @cached_property
    def old(self) -> tuple[Instance, ...]:
        """Counted instances that run something else."""
        return tuple(instance for instance in self.counted if not instance.current)

    @cached_property
    def standby(self) -> tuple[Instance, ...]:
        """Instances that a person has put aside; they serve nobody and count for nothing."""
        return tuple(one for one in self.instances if one.lifecycle_state in STANDBY_STATES)

    @cached_property
    def launching(self) -> int:
        """How many instances Auto Scaling has yet to launch to reach desired capacity."""
        return max(0, self.desired - len(self.counted))

    def ready(self, instance: Instance) -> bool:
        """Tell whether an instance is in service and healthy in every target group of the fleet."""
        healthy = {target.target_group for target in instance.targets if target.state == "healthy"}
        return instance.in_service and healthy.issuperset(self.target_groups)

    @cached_property
    def ready_count(self) -> int:
        """How many instances, old and current, serve."""
        return sum(self.ready(instance) for instance in self.counted)

    @cached_property
    def ready_current(self) -> int:
        """How many current instances serve."""
        return sum(self.ready(instance) for instance in self.current)

    def find(self, instance_id: str) -> Instance | None:
        """Return an instance of the group by its id; None if the group has it no more."""
        return next((one for one in self.instances if one.instance_id == instance_id), None)

    def progress(self, wanted: int) -> str:
        """Say how far the current instances are, such as ``3 of 8 in service, 5 booting``."""
        stages = Counter(self._stage(instance) for instance in self.current)
        ready = stages.pop("in service", 0)
        if self.launching:
            stages["to be launched"] += self.launching
        rest = "".join(f", {count} {stage}" for stage, count in sorted(stages.items()))
        return f"{ready} of {wanted} in service{rest}"

    def _stage(self, instance: Instance) -> str:
        if self.ready(instance):
            return "in service"
        if not instance.in_service:
            return "booting" if instance.lifecycle_state != "InService" else "unhealthy"
        return "waiting for the load balancer"


def describe(clients: Clients, name: str, group: str, replaced: Collection[str] = ()) -> Fleet:
    """Take a picture of a fleet.

    :param name: the fleet's name in the environment file.
    :param group: name of its Auto Scaling group.
    :param replaced: instances that count as old whatever they run.
    :raises GroupMissingError: if the group does not exist.
    :raises FleetError: if it is of a kind that bakeroll does not roll.
    """
    found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    if not found["AutoScalingGroups"]:
        raise GroupMissingError(
            f"fleet {name}: there is no Auto Scaling group {group}; apply Terraform first"
        )
    asg = found["AutoScalingGroups"][0]
    template = shapes.template(name, asg)
    versions = _Versions(clients.ec2)
    instances = asg.get("Instances", [])
    versions.load(template, [instance.get("LaunchTemplate", {}) for instance in instances])
    version, data = _target(versions, name, asg["AutoScalingGroupName"], template)
    target_groups = _target_groups(asg)
    healths = target_health(clients.elbv2, target_groups)
    return Fleet(
        name=name,
        group=group,
        minimum=asg["MinSize"],
        maximum=asg["MaxSize"],
        desired=asg["DesiredCapacity"],
        template_id=template["LaunchTemplateId"],
        template_version=version,
        new_instances_protected=asg.get("NewInstancesProtectedFromScaleIn", False),
        suspended=frozenset(process["ProcessName"] for process in asg.get("SuspendedProcesses", [])),
        target_groups=target_groups,
        instances=tuple(
            _instance(instance, versions, data, healths.get(instance["InstanceId"], ()), replaced)
            for instance in instances
        ),
        image_id=json.loads(data).get("ImageId", ""),
    )


def _instance(
    instance: InstanceTypeDef,
    versions: _Versions,
    target: str,
    targets: tuple[TargetHealth, ...],
    replaced: Collection[str],
) -> Instance:
    template = instance.get("LaunchTemplate", {})
    return Instance(
        instance_id=instance["InstanceId"],
        lifecycle_state=instance["LifecycleState"],
        health_status=instance["HealthStatus"],
        # Content counts, not the number: a version written anew with the same data is current; a deleted
        # one is not, since nobody can say any more what it held.
        current=versions.data(template) == target and instance["InstanceId"] not in replaced,
        protected=instance.get("ProtectedFromScaleIn", False),
        targets=targets,
    )


def _target_groups(asg: AutoScalingGroupTypeDef) -> tuple[str, ...]:
    groups = set(asg.get("TargetGroupARNs", []))
    groups.update(
        source["Identifier"] for source in asg.get("TrafficSources", []) if source.get("Type") == "elbv2"
    )
    return tuple(sorted(groups))


def balancers(clients: Clients, group: str) -> dict[str, str]:
    """Return what a group serves behind: ARN of each target group -> ARN of its load balancer, or empty.

    :param group: name of the Auto Scaling group; one that does not exist has none.
    """
    found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    arns = [arn for asg in found["AutoScalingGroups"] for arn in _target_groups(asg)]
    if not arns:
        return {}
    described = clients.elbv2.describe_target_groups(TargetGroupArns=arns)["TargetGroups"]
    return {one["TargetGroupArn"]: next(iter(one.get("LoadBalancerArns", [])), "") for one in described}


def _target(
    versions: _Versions, name: str, group: str, template: LaunchTemplateSpecificationTypeDef
) -> tuple[str, str]:
    """Return version number and canonical data of what the group launches now."""
    number, data = versions.number(template), versions.data(template)
    if number is None or data is None:
        raise FleetError(
            f"fleet {name}: version {template.get('Version')} of launch template "
            f"{template['LaunchTemplateId']} is gone, so {group} can launch nothing; apply Terraform"
        )
    if '"ImageId":"resolve:' in data:
        raise FleetError(
            f"fleet {name}: launch template {template['LaunchTemplateId']} names its image by a parameter; "
            "let it name the image's id, so that old and new instances can be told apart"
        )
    return number, data


class _Versions:
    """Launch template versions, read once in a picture, few calls for many instances."""

    def __init__(self, ec2: EC2Client) -> None:
        self._ec2 = ec2
        self._known: dict[tuple[str, str], tuple[str, str] | None] = {}

    def load(
        self,
        target: LaunchTemplateSpecificationTypeDef,
        templates: Iterable[LaunchTemplateSpecificationTypeDef],
    ) -> None:
        """Read the versions of a group and its instances, those of one template in one call."""
        wanted: dict[str, set[str]] = {}
        for template in [target, *templates]:
            if template_id := template.get("LaunchTemplateId"):
                wanted.setdefault(template_id, set()).add(template.get("Version", "$Default"))
        for template_id, versions in wanted.items():
            # $Latest and $Default are asked for alone, as the answer tells only numbers.
            numbers = sorted(version for version in versions if version.isdigit())
            for version in versions.difference(numbers):
                self._read(template_id, [version])
            # One call takes as many versions as one page holds (API reference, MaxResults).
            for start in range(0, len(numbers), VERSIONS_A_CALL):
                self._read(template_id, numbers[start : start + VERSIONS_A_CALL])

    def number(self, template: LaunchTemplateSpecificationTypeDef) -> str | None:
        """Return the version's number; None if it does not exist."""
        found = self._find(template)
        return found[0] if found else None

    def data(self, template: LaunchTemplateSpecificationTypeDef) -> str | None:
        """Return the version's launch template data, canonical; None if it does not exist."""
        found = self._find(template)
        return found[1] if found else None

    def _find(self, template: LaunchTemplateSpecificationTypeDef) -> tuple[str, str] | None:
        key = (template.get("LaunchTemplateId", ""), template.get("Version", "$Default"))
        return self._known.get(key)

    def _read(self, template_id: str, versions: Sequence[str]) -> None:
        try:
            answer = self._ec2.describe_launch_template_versions(
                LaunchTemplateId=template_id, Versions=list(versions)
            )
        except ClientError as error:
            if not error_code(error).startswith("InvalidLaunchTemplateId"):
                raise
            if len(versions) == 1:
                self._known[template_id, versions[0]] = None
                return
            for version in versions:  # one of them is gone, and the call is refused whole
                self._read(template_id, [version])
            return
        for found in answer["LaunchTemplateVersions"]:
            number = str(found["VersionNumber"])
            name = versions[0] if len(versions) == 1 else number
            self._known[template_id, name] = (number, canonical(found["LaunchTemplateData"]))
