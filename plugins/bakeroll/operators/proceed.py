"""Ask a person between two waves: go on, or abort."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from bakeroll.core.errors import AbortedError
from bakeroll.core.rollout.waves import Proceed
from bakeroll.operators.rollout import FleetOperator
from bakeroll.triggers.answer import AnswerTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment
    from bakeroll.triggers.step import StepTrigger

GO_ON, ABORT = "Go on", "Abort"
PAUSE = "pause"
"""Name of the run's parameter, and of the XCom of `begin` by which a person asks for a pause meanwhile."""


class ProceedOperator(FleetOperator):
    """Goes on at once, or waits for a person where the file, the run or somebody meanwhile asked for that.

    The answer is given as to any human-in-the-loop task of Airflow: under Required Actions in the UI, or by
    the API (PATCH ``…/taskInstances/<task>/-1/hitlDetails``). The task is deferred rather than parked as
    HITLOperator's: its trigger keeps the journal's lease, and ends the wait if another fleet fails meanwhile.

    :param fleet: the fleet's name.
    :param wave: the wave that is through, counted from 1.
    """

    ui_color = "#fbf3d9"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="proceed", **kwargs)

    def work(self, context: Context) -> Any:
        """Go on at once if nobody asked for a pause; else ask, and wait."""
        deployment = self.deployment(context)
        deployment.ledger.read()  # still ours, and not being rolled back
        why = self._why(context, deployment)
        if why is None:
            self.log.info("no pause after wave %s was asked for", self.wave)
            return None
        step = deployment.step(self.step, self.plain_arguments())
        if not isinstance(step, Proceed):
            raise TypeError(f"{self.step} asks nobody")
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[GO_ON, ABORT],
            subject=f"{deployment.name}: begin wave {self.wave + 1} of {self.fleet}?",
            body=f"{step.through()} It waits because {why}. **{ABORT}** rolls all fleets back.",
            params={},  # the API refuses the default of None
        )
        return super().work(context)

    def _why(self, context: Context, deployment: Deployment) -> str | None:
        if self.wave in deployment.fleet(self.fleet).pause_after:
            pauses = ", ".join(str(wave) for wave in deployment.fleet(self.fleet).pause_after)
            return f"the environment file has `pause_after: [{pauses}]`"
        if context["params"].get(PAUSE):
            return "the run was started with `pause`"
        if context["ti"].xcom_pull(task_ids="begin", key=PAUSE):
            return "somebody asked for a pause while it ran"
        return None

    def trigger(self, context: Context, arguments: Mapping[str, Any], **kwargs: Any) -> StepTrigger:
        """Return the trigger, which knows of the question too."""
        return AnswerTrigger(ti_id=str(context["ti"].id), arguments=arguments, **kwargs)

    def resume(self, context: Context, event: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """Do as the person says; without an answer, look at what has happened.

        :raises AbortedError: if the person aborts: what follows fails, and the rollback begins.
        """
        if "chosen_options" not in event:
            return super().resume(context, event, arguments)
        who = (event.get("responded_by_user") or {}).get("name") or "somebody"
        self.deployment(context).ledger.read()
        if event["chosen_options"] != [GO_ON]:
            raise AbortedError(
                f"fleet {self.fleet}: {who} aborted the rollout after wave {self.wave}; mend the version "
                "and start a new run"
            )
        self.log.info("%s lets wave %s begin", who, self.wave + 1)
        return {"chosen": GO_ON, "by": who}
