"""Mixed instances policies: which instance types a group launches, and which of them as spot instances.

Sources: API reference, InstancesDistribution, LaunchTemplateOverrides; Auto Scaling user guide, "Allocation
strategies for multiple instance types" (``prioritized`` keeps the order of the overrides and goes on to the
next type where one has no capacity). Which type the other strategies take depends on prices and on what
capacity EC2 has, neither of which is documented: it is drawn at random.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.model.autoscaling.state import TemplateRef

DEFAULTS: Mapping[str, Any] = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
STRATEGIES: Mapping[str, frozenset[str]] = {
    "OnDemandAllocationStrategy": frozenset({"prioritized", "lowest-price"}),
    "SpotAllocationStrategy": frozenset({
        "lowest-price",
        "capacity-optimized",
        "capacity-optimized-prioritized",
        "price-capacity-optimized",
    }),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Override:
    """One instance type, with a launch template of its own or the policy's; None: the template's type."""

    instance_type: str | None = None
    template: TemplateRef | None = None


@dataclass(frozen=True, kw_only=True)
class MixedInstances:
    """What a mixed instances policy says besides its launch template."""

    overrides: tuple[Override, ...] = ()
    distribution: Mapping[str, Any] = field(default_factory=dict)

    def wants_spot(self, total: int, on_demand: int) -> bool:
        """Tell whether the next instance is a spot one.

        :param total: how many instances there will be with it.
        :param on_demand: how many of those there are now are on-demand ones.
        """
        base = min(total, int(self.distribution["OnDemandBaseCapacity"]))
        share = int(self.distribution["OnDemandPercentageAboveBaseCapacity"])
        return on_demand >= base + math.ceil((total - base) * share / 100)

    def choices(self, *, spot: bool, random: random.Random) -> list[Override]:
        """Return what may be launched, the first choice first."""
        found = list(self.overrides) or [Override()]
        name = "SpotAllocationStrategy" if spot else "OnDemandAllocationStrategy"
        if not str(self.distribution[name]).endswith("prioritized"):
            random.shuffle(found)
        return found
