"""Which instances a fault is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.faults import fields
from sandbox.faults.rule import HOW_OFTEN, Rule
from sandbox.model.ports import LaunchSpec

WHERE: Mapping[str, fields.Reader] = {
    **HOW_OFTEN,
    "group": fields.text,
    "image": fields.text,
    "instance_type": fields.text,
    "zone": fields.text,
}


@dataclass(kw_only=True)
class ScopedRule(Rule):
    """One setting for instances; what is not named is any."""

    group: str | None = None
    """Name of the Auto Scaling group."""
    image: str | None = None
    instance: str | None = None
    instance_type: str | None = None
    zone: str | None = None

    def matches(self, spec: LaunchSpec, instance_id: str | None = None) -> bool:
        """Tell whether an instance is one that the rule is for.

        :param instance_id: None while it is not launched yet.
        """
        return (
            self.group in {None, spec.group_name}
            and self.image in {None, spec.image_id}
            and self.instance in {None, instance_id}
            and self.instance_type in {None, spec.instance_type}
            and self.zone in {None, spec.availability_zone}
        )
