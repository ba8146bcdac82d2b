"""The steps of a rollout as tasks of one fleet's wave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bakeroll.core.rollout.drain import Drain
from bakeroll.operators.base import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class FleetOperator(StepOperator):
    """One step of one fleet's wave: scale_out, retire or verify.

    :param fleet: the fleet's name.
    :param wave: the wave, counted from 1.
    """

    def __init__(self, *, step: str, fleet: str, wave: int, **kwargs: Any) -> None:
        super().__init__(step=step, **kwargs)
        self.fleet = fleet
        self.wave = wave

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step."""
        return {"fleet": self.fleet, "wave": self.wave}


class DrainOperator(FleetOperator):
    """Drains up to 50 retired instances and sees them gone; mapped over what ``retire`` retired.

    :param instance_ids: at most 50 ids.
    """

    template_fields: Sequence[str] = ("instance_ids",)

    def __init__(self, *, instance_ids: Sequence[str], **kwargs: Any) -> None:
        super().__init__(step="drain", **kwargs)
        self.instance_ids = instance_ids

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step."""
        return {**super().plain_arguments(), "instance_ids": list(self.instance_ids)}

    def execute(self, context: Context) -> Any:
        """Drain; commands that failed before this attempt are sent again."""
        arguments = self.plain_arguments()
        step = self.deployment(context).step(self.step, arguments)
        if not isinstance(step, Drain):
            raise TypeError(f"{self.step} is no drain")
        return self.advance(context, {**arguments, "earlier": step.earlier_commands()})
