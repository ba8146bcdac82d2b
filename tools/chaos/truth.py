"""What is true of a fleet, read from the sandbox's model itself and never through an API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.direct import DirectAccount
from sandbox.model.autoscaling.state import COUNTING, Group, Member


class ViolationError(AssertionError):
    """An invariant does not hold.

    :param number: the invariant's, 1 to 7; 0 for an error that nobody foresaw.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}")
        self.number = number
        self.text = text


@dataclass
class Expected:
    """The group as it would be had there been no rollout.

    Where a change of others meets the rollout, what they meant and what came of it may differ: the live
    target lies between ``low`` and ``high``.
    """

    minimum: set[int]
    """Usually one; two where a person's change fell between one read and one write of ours."""
    maximum: set[int]
    protect_new: bool
    suspended: set[str]
    low: int
    high: int
    peak: int = 0


@dataclass
class Truth:
    """One fleet in one account."""

    aws: DirectAccount
    name: str
    """Of the fleet, and of its group."""
    bucket: str
    environment: str
    on_failure: str
    expected: Expected
    emptied: set[str] = field(default_factory=set)
    """Instances whose machine said last that nothing is left in its buffers."""
    terminated: dict[str, str] = field(default_factory=dict)
    """Instances that a run terminated, and which run."""
    targets: int = 0
    """How many versions were to replace each other since the journal was opened: each may need its surge."""
    protected: set[str] = field(default_factory=set)
    """Instances that a person protected from scale-in."""
    returned: set[str] = field(default_factory=set)
    """Instances that a person took out of Standby since a run was through: the next has to replace them."""
    replaced: set[str] = field(default_factory=set)
    """Instances that are old whatever they run, as a run was asked to replace them."""

    _journal: tuple[bytes | None, dict[str, Any] | None] = (None, None)
    """The journal's content, and what it says."""

    @property
    def group(self) -> Group:
        """The group in the model."""
        return self.aws.account.groups.get(self.name)

    @property
    def gone_by_others(self) -> int:
        """How many instances ended by nobody's rollout: each may leave one replacement more."""
        ended = {
            activity.description.rpartition(" ")[2]
            for activity in self.group.activities
            if activity.description.startswith("Terminating")
        }
        return len(ended.difference(self.terminated))

    def journal(self) -> dict[str, Any] | None:
        """Return the journal as it is in the bucket."""
        content = self.aws.objects.content(self.bucket, f"journal/{self.environment}.json")
        if content is not self._journal[0]:
            self._journal = content, json.loads(content) if content else None
        return self._journal[1]

    def recorded(self) -> set[str]:
        """Return the ids of instances of which the bucket keeps what became of them."""
        prefix = f"drains/{self.environment}/"
        keys = self.aws.objects.buckets[self.bucket]
        return {key.removeprefix(prefix).removesuffix(".json") for key in keys if key.startswith(prefix)}

    def counting(self) -> list[Member]:
        """Return the members that count towards desired capacity."""
        return [member for member in self.group.members.values() if member.state in COUNTING]

    def target(self) -> Any:
        """Return the launch template data that the group launches from."""
        template = self.group.template
        return self._data(template.template_id, template.version)

    def current(self) -> set[str]:
        """Return the ids of the counting members that run what the group launches, and may stay."""
        target = self.target()
        launched = {
            one.instance_id: (one.template.template_id, one.template.version)
            for one in self.counting()
            if one.template
        }
        wanted = {version for version in set(launched.values()) if self._data(*version) == target}
        return {one for one, version in launched.items() if version in wanted} - self.replaced

    @property
    def launches(self) -> str:
        """The image that the group launches now."""
        return str(self.target()["ImageId"])

    def in_service(self) -> set[str]:
        """Return the ids of the members that Auto Scaling holds for in service and healthy."""
        return {
            member.instance_id
            for member in self.group.members.values()
            if member.state == "InService" and member.health == "Healthy"
        }

    def healthy(self) -> set[str]:
        """Return the ids of instances that are healthy in every target group of the fleet."""
        found = set(self.group.members)
        for arn in self.group.target_groups:
            found &= self.healthy_in(arn)
        return found

    def healthy_in(self, arn: str) -> set[str]:
        """Return the ids of the instances that are healthy in a target group."""
        targets = self.aws.account.targets.health(arn)
        return {target.instance_id for target in targets if target.state == "healthy"}

    def ready(self) -> set[str]:
        """Return the ids of the instances that serve."""
        return self.in_service() & self.healthy()

    def _data(self, template_id: str, version: str) -> Any:
        return self.aws.templates.resolve(template_id, version)[3]


def names(ids: Iterable[str]) -> str:
    """Return ids in a short sentence."""
    found = sorted(ids)
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
