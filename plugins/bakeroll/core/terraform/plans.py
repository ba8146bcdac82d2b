"""What a plan would do, small enough to show and to carry between tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Destroying or replacing one of these ends a running service, or loses what a rollback needs.
PROTECTED_TYPES = frozenset(
    {
        "aws_autoscaling_group",
        "aws_autoscaling_lifecycle_hook",
        "aws_launch_template",
        "aws_lb",
        "aws_alb",
        "aws_lb_listener",
        "aws_alb_listener",
        "aws_lb_target_group",
        "aws_alb_target_group",
        "aws_ssm_document",
    }
)

_SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "-/+"}


@dataclass(frozen=True)
class Change:
    """What happens to one resource.

    :param address: for example `module.fleet["web"].aws_autoscaling_group.this`.
    :param type: for example `aws_autoscaling_group`.
    :param action: create, update, delete, replace, or another word of Terraform's (forget).
    :param attributes: names of the attributes that change on an update or replacement; never their values.
    """

    address: str
    type: str
    action: str
    attributes: tuple[str, ...] = ()

    @property
    def destroys(self) -> bool:
        """Whether the resource that is there now will be gone."""
        return self.action in {"delete", "replace"}

    def line(self) -> str:
        """Say it in one line."""
        names = f" ({', '.join(self.attributes)})" if self.attributes else ""
        return f"{_SIGNS.get(self.action, '?')} {self.action} {self.address}{names}"


@dataclass(frozen=True)
class PlanLocation:
    """Where a saved plan is, and which bytes it is: small and free of secrets, so an XCom can carry it.

    :param sha256: digest of the object, so that what is applied is what was shown.
    """

    bucket: str
    key: str
    sha256: str

    def as_dict(self) -> dict[str, str]:
        """Give it as plain data."""
        return {"bucket": self.bucket, "key": self.key, "sha256": self.sha256}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> PlanLocation:
        """Read what :meth:`as_dict` gave."""
        return cls(bucket=data["bucket"], key=data["key"], sha256=data["sha256"])


@dataclass(frozen=True)
class Plan:
    """What Terraform would do.

    :param environment: the environment's name.
    :param changes: the resources that change.
    :param output_changes: names of the outputs that change.
    :param outputs: what is already known of the outputs after an apply, without sensitive ones.
    :param location: where the plan is saved; None if there is nothing to apply.
    :param fleets: names in the output `fleets` after an apply; None if Terraform does not know them yet.
    """

    environment: str
    changes: tuple[Change, ...]
    output_changes: tuple[str, ...]
    outputs: Mapping[str, Any]
    location: PlanLocation | None = None
    fleets: frozenset[str] | None = None

    @property
    def has_changes(self) -> bool:
        """Whether there is anything to apply."""
        return bool(self.changes or self.output_changes)

    @property
    def add(self) -> int:
        """How many resources are created, replacements among them."""
        return sum(change.action in {"create", "replace"} for change in self.changes)

    @property
    def change(self) -> int:
        """How many resources are changed in place."""
        return sum(change.action == "update" for change in self.changes)

    @property
    def destroy(self) -> int:
        """How many resources are destroyed, replacements among them."""
        return sum(change.destroys for change in self.changes)

    @property
    def forbidden(self) -> tuple[Change, ...]:
        """Give the changes that need a person's leave."""
        return tuple(change for change in self.changes if change.destroys and change.type in PROTECTED_TYPES)

    def headline(self) -> str:
        """Say it in one line."""
        if not self.has_changes:
            return f"{self.environment}: nothing to change"
        counts = f"{self.add} to add, {self.change} to change, {self.destroy} to destroy"
        outputs = f", outputs {', '.join(self.output_changes)} change" if self.output_changes else ""
        return f"{self.environment}: {counts}{outputs}"

    def summary(self) -> dict[str, Any]:
        """Give it as plain data for an XCom: no values of attributes or outputs, so no secrets."""
        return {
            "environment": self.environment,
            "headline": self.headline(),
            "has_changes": self.has_changes,
            "add": self.add,
            "change": self.change,
            "destroy": self.destroy,
            "changes": [change.line() for change in self.changes],
            "output_changes": list(self.output_changes),
            "location": self.location.as_dict() if self.location else None,
        }


def from_document(environment: str, document: Mapping[str, Any]) -> Plan:
    """Read what `terraform show -json <plan>` printed.

    Source: https://developer.hashicorp.com/terraform/internals/json-format

    :param environment: the environment's name.
    :param document: the plan.
    """
    changes = [
        _change(resource)
        for resource in document.get("resource_changes", [])
        if resource["change"]["actions"] not in (["no-op"], ["read"])
    ]
    outputs = document.get("planned_values", {}).get("outputs", {})
    return Plan(
        environment=environment,
        changes=tuple(changes),
        output_changes=tuple(
            sorted(
                name
                for name, change in document.get("output_changes", {}).items()
                if change["actions"] != ["no-op"]
            )
        ),
        outputs={
            name: output["value"]
            for name, output in outputs.items()
            if not output.get("sensitive") and "value" in output
        },
        fleets=_keys(document.get("output_changes", {}).get("fleets", {})),
    )


def _keys(change: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the keys that an output will have: those of a new fleet are known, its template's id is not."""
    parts = [change.get("after"), change.get("after_unknown")]
    known = [part for part in parts if isinstance(part, Mapping)]
    return frozenset(str(key) for part in known for key in part) if known else None


def _change(resource: Mapping[str, Any]) -> Change:
    actions = list(resource["change"]["actions"])
    action = "replace" if set(actions) == {"create", "delete"} else "/".join(actions)
    deposed = f" (deposed {resource['deposed']})" if resource.get("deposed") else ""
    return Change(
        address=f"{resource['address']}{deposed}",
        type=str(resource["type"]),
        action=action,
        attributes=_attributes(resource["change"]) if action in {"update", "replace"} else (),
    )


def _attributes(change: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the attributes whose value differs or is not known yet."""
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = {name for name, value in (change.get("after_unknown") or {}).items() if value}
    names = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return tuple(sorted(names | unknown))
