"""Wait until new instances serve."""

from __future__ import annotations

from typing import Any

from bakeroll.operators.rollout import FleetOperator


class CapacitySensor(FleetOperator):
    """Waits until a wave's new instances are in service and healthy in every target group.

    It fails at once on what cannot succeed any more, and with AWS's reasons when time is up.

    :param fleet: the fleet's name.
    :param wave: the wave, counted from 1.
    """

    ui_color = "#e6f1f2"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="await_capacity", **kwargs)
