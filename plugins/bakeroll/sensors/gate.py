"""Watch new instances before old ones go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bakeroll.links.console import AlarmLink
from bakeroll.sensors.capacity import CapacitySensor

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from bakeroll.core.deployment import Deployment


class GateSensor(CapacitySensor):
    """Watches a wave's new instances: healthy for the soak time, alarms quiet, right answers over HTTP.

    :param fleet: the fleet's name.
    :param wave: the wave, counted from 1.
    """

    operator_extra_links: Sequence[BaseOperatorLink] = (*CapacitySensor.operator_extra_links, AlarmLink())

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="gate", **kwargs)

    def show(self, context: Context, deployment: Deployment) -> str | None:
        """Show the fleet's group, what it serves behind, and the first alarm that is looked at."""
        for alarm in deployment.fleet(self.fleet).gate.alarms[:1]:
            AlarmLink.show(context, deployment.environment.region, alarm=alarm)
        return super().show(context, deployment)
