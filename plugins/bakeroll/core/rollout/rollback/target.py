"""What a fleet goes back to: read from AWS before anything moves, and pointed at again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code
from bakeroll.core.errors import GroupMissingError
from bakeroll.core.rollout import shapes
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef


@dataclass(frozen=True)
class Target:
    """A version of a launch template.

    :ivar version: its number.
    """

    template_id: str
    version: str

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"version {self.version} of launch template {self.template_id}"


def target_of(record: FleetRecord) -> Target | None:
    """Return what a fleet goes back to; None if there was nothing before."""
    if record.template_before is None:
        return None
    return Target(record.template_id_before or record.launch_template_id, record.template_before)


def what_runs(clients: Clients, fleet: Fleet) -> Target:
    """Return what most of a fleet's serving instances were launched from.

    It is what the group launches from, unless somebody has moved the group and its instances did not follow.
    A group without instances goes back to what it would launch: the next scaling policy has it launch that.
    """
    own = Target(fleet.template_id, fleet.template_version)
    if not fleet.old:
        return own
    votes = Counter({own: 0})
    launched = {
        one["InstanceId"]: one.get("LaunchTemplate")
        for one in _group(clients, fleet.name, fleet.group).get("Instances", [])
    }
    asked = [one for one in fleet.counted if fleet.ready(one)] or list(fleet.counted)
    for instance in asked:
        template = launched.get(instance.instance_id)
        if instance.current:
            votes[own] += 1
        elif template and template.get("Version", "").isdigit():
            votes[Target(template.get("LaunchTemplateId", ""), template["Version"])] += 1
    return votes.most_common(1)[0][0]  # of equals the first: the group's own


def image_of(clients: Clients, target: Target) -> str | None:
    """Return the image that a version launches; None if the version or its template is gone.

    Source: EC2 API reference, DescribeLaunchTemplateVersions.
    """
    try:
        found = clients.ec2.describe_launch_template_versions(
            LaunchTemplateId=target.template_id, Versions=[target.version]
        )
    except ClientError as error:
        if not error_code(error).startswith("InvalidLaunchTemplateId"):
            raise
        return None
    versions = found["LaunchTemplateVersions"]
    return str(versions[0]["LaunchTemplateData"].get("ImageId", "")) if versions else None


def named_by(clients: Clients, name: str, group: str) -> Target | None:
    """Return what a group names to launch from, be it there or not; None if that is no launch template.

    :param name: the fleet's name, for the message.
    """
    named = shapes.named(_group(clients, name, group))
    if named is None:
        return None
    return Target(named.get("LaunchTemplateId", ""), named.get("Version", "$Default"))


def point(clients: Clients, name: str, group: str, target: Target) -> None:
    """Have a group launch from a version; a mixed instances policy stays what it is besides.

    A group that launches from ``$Latest`` or ``$Default`` launches from the number from then on.

    :param name: the fleet's name, for the message.
    """
    change: dict[str, Any] = shapes.pointed_at(
        _group(clients, name, group), target.version, template_id=target.template_id
    )
    clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=group, **change)


def _group(clients: Clients, name: str, group: str) -> AutoScalingGroupTypeDef:
    found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    if not found["AutoScalingGroups"]:
        raise GroupMissingError(f"fleet {name}: Auto Scaling group {group} is gone; apply Terraform")
    return found["AutoScalingGroups"][0]


def points_at(fleet: Fleet, target: Target) -> bool:
    """Tell whether a group launches from a version."""
    return (fleet.template_id, fleet.template_version) == (target.template_id, target.version)
