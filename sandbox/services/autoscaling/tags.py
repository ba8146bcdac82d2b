"""Tags of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.state import Group, Tag
from sandbox.services.autoscaling import shapes
from sandbox.services.autoscaling.paging import page_by_place
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import validation_error

registry = Registry()
_FILTERS = {
    "auto-scaling-group": "ResourceId",
    "key": "Key",
    "value": "Value",
    "propagate-at-launch": "PropagateAtLaunch",
}


@registry.action("CreateOrUpdateTags", accepts=("Tags",))
def create_or_update(account: Account, params: Params) -> dict[str, Any]:
    """Set tags; instances that run already keep theirs."""
    pairs = [(_group(account, tag), tag) for tag in params["Tags"]]
    for group, tag in pairs:
        group.tags[tag["Key"]] = Tag(
            value=str(tag.get("Value") or ""), propagate=bool(tag.get("PropagateAtLaunch"))
        )
    return {}


@registry.action("DeleteTags", accepts=("Tags",))
def delete(account: Account, params: Params) -> dict[str, Any]:
    """Remove tags; with a value only if the tag has it."""
    for group, tag in [(_group(account, tag), tag) for tag in params["Tags"]]:
        present = group.tags.get(tag["Key"])
        if present is not None and tag.get("Value") in (None, present.value):
            del group.tags[tag["Key"]]
    return {}


@registry.action("DescribeTags", accepts=("Filters", "NextToken", "MaxRecords"))
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe tags of all groups."""
    found = [
        tag for group in sorted(account.groups, key=lambda each: each.name) for tag in shapes.tags(group)
    ]
    for condition in params.get("Filters") or ():
        if condition["Name"] not in _FILTERS:
            raise validation_error(f"Filter type {condition['Name']} is not correct.")
        member, values = _FILTERS[condition["Name"]], {str(each).lower() for each in condition["Values"]}
        found = [tag for tag in found if str(tag[member]).lower() in values]
    page, token = page_by_place(found, params, default=50, limit=100)
    return {"Tags": list(page), **token}


def _group(account: Account, tag: Mapping[str, Any]) -> Group:
    if tag.get("ResourceType") != "auto-scaling-group" or not tag.get("ResourceId"):
        raise validation_error("Tags need the resource type auto-scaling-group and a resource id.")
    return account.groups.get(tag["ResourceId"])
