"""Wait until new instances serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bakeroll.core.rollout import fleet as fleets
from bakeroll.links.console import AutoScalingGroupLink, LoadBalancerLink, TargetGroupLink
from bakeroll.operators.rollout import FleetOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from bakeroll.core.deployment import Deployment


class CapacitySensor(FleetOperator):
    """Waits until a wave's new instances are in service and healthy in every target group.

    It fails at once on what cannot succeed any more, and with AWS's reasons when time is up.

    :param fleet: the fleet's name.
    :param wave: the wave, counted from 1.
    """

    ui_color = "#e6f1f2"
    operator_extra_links: Sequence[BaseOperatorLink] = (
        AutoScalingGroupLink(),
        LoadBalancerLink(),
        TargetGroupLink(),
    )

    def __init__(self, *, step: str = "await_capacity", **kwargs: Any) -> None:
        super().__init__(step=step, **kwargs)

    def show(self, context: Context, deployment: Deployment) -> str | None:
        """Show the fleet's group in the AWS console, and what it serves behind."""
        group = super().show(context, deployment)
        behind = fleets.balancers(deployment.clients, group) if group else {}
        for target_group, load_balancer in list(behind.items())[:1]:
            region = deployment.environment.region
            TargetGroupLink.show(context, region, arn=target_group)
            if load_balancer:
                LoadBalancerLink.show(context, region, arn=load_balancer)
        return group
