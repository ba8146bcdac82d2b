"""Auto Scaling's API: ``ACTIONS`` maps each action that the sandbox answers to its handler."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.services.autoscaling import groups, hooks, lists, members, policies, tags, traffic, warm_pools
from sandbox.services.autoscaling.registry import Handler

ACTIONS: Mapping[str, Handler] = {
    **groups.registry.actions,
    **members.registry.actions,
    **hooks.registry.actions,
    **traffic.registry.actions,
    **tags.registry.actions,
    **policies.registry.actions,
    **lists.registry.actions,
    **warm_pools.registry.actions,
}
