"""The steps of a rollout as tasks of one fleet's wave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bakeroll.core.rollout.drains import Drain, Undrained, outcome_of
from bakeroll.links.console import AutoScalingGroupLink, CommandLink
from bakeroll.listeners.run_note import UNDRAINED_KEY as UNDRAINED
from bakeroll.operators.base import StepOperator
from bakeroll.operators.commands import show_newest

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from bakeroll.core.deployment import Deployment
    from bakeroll.core.rollout.drains import OnFailure


class FleetOperator(StepOperator):
    """One step of one fleet's wave: scale_out, retire or verify.

    :param fleet: the fleet's name.
    :param wave: the wave, counted from 1.
    """

    operator_extra_links: Sequence[BaseOperatorLink] = (AutoScalingGroupLink(),)

    def __init__(self, *, step: str, fleet: str, wave: int, **kwargs: Any) -> None:
        super().__init__(step=step, **kwargs)
        self.fleet = fleet
        self.wave = wave

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step."""
        return {"fleet": self.fleet, "wave": self.wave}

    def evidence(self, context: Context) -> Mapping[str, str]:
        """Return what AWS says of the fleet."""
        return self.deployment(context).evidence(self.fleet)

    def work(self, context: Context) -> Any:
        """Do all that can be done now, with a link to what it is done to."""
        self.show(context, self.deployment(context))
        return super().work(context)

    def show(self, context: Context, deployment: Deployment) -> str | None:
        """Show the fleet's group in the AWS console.

        :return: the group's name; None if the journal has no such fleet.
        """
        record = deployment.ledger.read().fleets.get(self.fleet)
        if record is None:
            return None
        AutoScalingGroupLink.show(context, deployment.environment.region, group=record.group)
        return record.group


class DrainOperator(FleetOperator):
    """Drains up to 50 retired instances and sees them gone; mapped over what ``retire`` retired.

    :param instance_ids: at most 50 ids.
    :param on_failure: ``retain`` or ``continue``; None for what the environment file says.
    """

    template_fields: Sequence[str] = ("instance_ids",)
    operator_extra_links = (AutoScalingGroupLink(), CommandLink())

    def __init__(
        self, *, instance_ids: Sequence[str], on_failure: OnFailure | None = None, **kwargs: Any
    ) -> None:
        super().__init__(step="drain", **kwargs)
        self.instance_ids = instance_ids
        self.on_failure = on_failure

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step."""
        policy = {"on_failure": self.on_failure} if self.on_failure else {}
        return {**super().plain_arguments(), "instance_ids": list(self.instance_ids), **policy}

    @property
    def title(self) -> str:
        """The wave and its instances in a few words, for the map index."""
        first, *others = self.instance_ids
        wave = f"wave {self.wave}" if self.wave else "rollback"
        return f"{wave}: {first}" + (f" and {len(others)} more" if others else "")

    def work(self, context: Context) -> Any:
        """Drain; commands that failed before this attempt are sent again."""
        arguments = self.plain_arguments()
        deployment = self.deployment(context)
        self.show(context, deployment)
        step = deployment.step(self.step, arguments)
        if not isinstance(step, Drain):
            raise TypeError(f"{self.step} is no drain")
        return self.advance(context, {**arguments, "earlier": step.earlier_commands()})

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Go on with the drain, and show the newest command that was sent for it, also where that failed."""
        try:
            results = super().advance(context, arguments)
            self._name_undrained(context, results)
            return results
        finally:
            deployment = self.deployment(context)
            journal = deployment.ledger.peek()
            if journal and self.fleet in journal.fleets:
                document = journal.fleets[self.fleet].drain_document
                show_newest(context, deployment, document, journal.opened_at, self.instance_ids)

    def _name_undrained(self, context: Context, results: Sequence[Mapping[str, Any]]) -> None:
        """Name those that were not drained in the log, as warnings, and for the note of the run."""
        failed = {one["instance_id"]: one for one in results if "why" in one}
        for instance_id, one in failed.items():
            self.log.warning(Undrained(instance_id, outcome_of(one), one["why"]).sentence)
        named = [f"{instance_id} ({outcome_of(one)})" for instance_id, one in failed.items()]
        context["ti"].xcom_push(key=UNDRAINED, value=named)
