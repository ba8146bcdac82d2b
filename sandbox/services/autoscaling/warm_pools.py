"""Warm pools of groups."""

from __future__ import annotations

from typing import Any

from sandbox.model.account import Account
from sandbox.model.autoscaling.warm_pool import READY, WarmPool
from sandbox.services.autoscaling import shapes
from sandbox.services.autoscaling.paging import page_by_key
from sandbox.services.autoscaling.registry import Params, Registry
from sandbox.services.errors import not_modelled, validation_error

registry = Registry()


@registry.action(
    "PutWarmPool",
    accepts=("AutoScalingGroupName", "MaxGroupPreparedCapacity", "MinSize", "PoolState"),
    neutral={"InstanceReusePolicy": ({"ReuseOnScaleIn": False},)},
)
def put(account: Account, params: Params) -> dict[str, Any]:
    """Give a group a warm pool, or change it; what is not given stays."""
    group = account.groups.get(params["AutoScalingGroupName"])
    if group.mixed is not None:
        raise not_modelled("A warm pool of a group with a mixed instances policy")
    before = group.warm_pool or WarmPool()
    if before.deleting:
        raise validation_error("The warm pool is being deleted.")
    state = str(params.get("PoolState") or before.state)
    if state not in READY:
        raise not_modelled(f"The pool state {state}")
    prepared = params.get("MaxGroupPreparedCapacity", before.prepared)
    min_size = int(params.get("MinSize", before.min_size))
    if min_size < 0 or (prepared is not None and prepared < -1):
        raise validation_error("MinSize must be 0 or more, and MaxGroupPreparedCapacity -1 or more.")
    # "To remove a value that you previously set, include the property but specify -1 for the value."
    group.warm_pool = WarmPool(min_size=min_size, prepared=None if prepared == -1 else prepared, state=state)
    account.groups.capacity.wake(group, asked=True)
    return {}


@registry.action("DeleteWarmPool", accepts=("AutoScalingGroupName", "ForceDelete"))
def delete(account: Account, params: Params) -> dict[str, Any]:
    """Delete a group's warm pool with what waits in it; by force without lifecycle hooks."""
    group = account.groups.get(params["AutoScalingGroupName"])
    account.groups.warm_pools.delete(group, force=bool(params.get("ForceDelete")))
    return {}


@registry.action("DescribeWarmPool", accepts=("AutoScalingGroupName", "MaxRecords", "NextToken"))
def describe(account: Account, params: Params) -> dict[str, Any]:
    """Describe a group's warm pool and what waits in it; nothing if it has none."""
    group = account.groups.get(params["AutoScalingGroupName"])
    page, token = page_by_key(
        list(group.pool.values()), lambda member: member.instance_id, params, default=50, limit=50
    )
    shape: dict[str, Any] = {"Instances": [shapes.group_instance(member) for member in page], **token}
    pool = shapes.warm_pool(group)
    return shape if pool is None else shape | {"WarmPoolConfiguration": pool}
