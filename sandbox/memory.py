"""What the model needs from outside, in dictionaries: for tests of the model alone."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.model.ports import HealthCheck, LaunchError, LaunchSpec, TargetGroupSpec


class MemoryRecords:
    """EC2's records in a dictionary.

    :param random: makes the instance ids.
    """

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._count = 0
        self.states: dict[str, str] = {}
        self.images: set[str] | None = None
        """The images there are; None: any."""
        self.refusals: list[LaunchError] = []
        """Raised by the next launches, one each."""
        self.full_zones: set[str] = set()
        """Availability zones without capacity."""

    def create(self, spec: LaunchSpec) -> tuple[str, str]:
        """Record a launch, or refuse as told."""
        if self.refusals:
            raise self.refusals.pop(0)
        if spec.availability_zone in self.full_zones:
            raise LaunchError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {spec.instance_type} capacity in the Availability Zone "
                f"you requested ({spec.availability_zone}).",
            )
        if self.images is not None and spec.image_id not in self.images:
            raise LaunchError("InvalidAMIID.NotFound", f"The image id '[{spec.image_id}]' does not exist")
        self._count += 1
        instance_id = f"i-{self._random.getrandbits(68):017x}"
        self.states[instance_id] = "pending"
        return instance_id, f"127.10.{self._count >> 8 & 255}.{self._count & 255}"

    def public_keys(self, spec: LaunchSpec) -> Sequence[str]:  # noqa: ARG002 - the port's signature
        """Return no keys."""
        return ()

    def set_state(self, instance_id: str, state: str, reason: str) -> None:  # noqa: ARG002 - the port's
        """Keep the state."""
        self.states[instance_id] = state


class MemorySubnets:
    """Three zones with one subnet each: ``subnet-a``, ``subnet-b``, ``subnet-c`` and so on."""

    def __init__(self, region: str = "ap-northeast-1") -> None:
        self.zones = {f"subnet-{letter}": f"{region}{letter}" for letter in "abcdef"}

    def zone(self, subnet_id: str) -> str:
        """Return the zone of a subnet."""
        return self.zones[subnet_id]

    def default(self, zone: str) -> str:
        """Return the subnet of a zone."""
        return next(subnet for subnet, each in self.zones.items() if each == zone)


class MemoryTemplates:
    """Launch templates in a dictionary."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, Mapping[str, Any]]] = {}
        self._names: dict[str, str] = {}
        self.defaults: dict[str, int] = {}

    def put(self, template_id: str, data: Mapping[str, Any], name: str | None = None) -> str:
        """Add a version to a template, making it if needed.

        :return: the version number.
        """
        versions = self._versions.setdefault(template_id, {})
        self._names.setdefault(template_id, name or template_id.removeprefix("lt-"))
        number = max(versions, default=0) + 1
        versions[number] = data
        self.defaults.setdefault(template_id, number)
        return str(number)

    def delete(self, template_id: str, version: str) -> None:
        """Remove a version."""
        del self._versions[template_id][int(version)]

    def numbers(self, template_id: str) -> list[str]:
        """Return the versions that a template has."""
        return [str(number) for number in self._versions.get(template_id, {})]

    def resolve(self, template: str, version: str) -> tuple[str, str, str, Mapping[str, Any]]:
        """Find one version's data."""
        template_id: str | None = template
        if template not in self._versions:
            template_id = next((each for each, name in self._names.items() if name == template), None)
        if template_id is None:
            raise LaunchError(
                "InvalidLaunchTemplateId.NotFound",
                f"The specified launch template, {template}, does not exist.",
            )
        versions = self._versions[template_id]
        if version == "$Latest":
            number = max(versions)
        else:
            number = self.defaults[template_id] if version == "$Default" else int(version)
        if number not in versions:
            raise LaunchError(
                "InvalidLaunchTemplateId.VersionNotFound",
                f"Could not find the specified version {version} for the launch template with ID "
                f"{template_id}.",
            )
        return template_id, self._names[template_id], str(number), versions[number]


class MemoryTargetGroups:
    """Target groups in a dictionary."""

    def __init__(self) -> None:
        self.specs: dict[str, TargetGroupSpec] = {}

    def put(self, arn: str, **changes: Any) -> str:
        """Add a target group with ELBv2's usual settings, changed as told; return its ARN."""
        check = HealthCheck(protocol="HTTP", port=0, path="/", matcher="200", timeout_seconds=5.0)
        settings: dict[str, Any] = {
            "arn": arn,
            "port": 80,
            "check": check,
            "interval_seconds": 10.0,
            "healthy_threshold": 3,
            "unhealthy_threshold": 2,
            "deregistration_delay_seconds": 30.0,
            "in_use": True,
        }
        self.specs[arn] = TargetGroupSpec(**(settings | changes))
        return arn

    def spec(self, arn: str) -> TargetGroupSpec:
        """Describe one."""
        return self.specs[arn]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event on the bus."""

    source: str
    detail_type: str
    resources: tuple[str, ...]
    detail: Mapping[str, Any]


class MemoryBus:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def put(self, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Keep one event."""
        self.events.append(
            Event(source=source, detail_type=detail_type, resources=tuple(resources), detail=dict(detail))
        )

    def of(self, detail_type: str) -> list[Event]:
        """Return the events of one kind, oldest first."""
        return [event for event in self.events if event.detail_type == detail_type]
