"""The tasks of a rollback; what they do is in :mod:`bakeroll.core.rollout.rollback`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from bakeroll.core.deployment import BACK_WAVE
from bakeroll.core.errors import FinalError, OwnershipLostError, RollbackError
from bakeroll.core.rollout import rollback
from bakeroll.core.rollout.rollback.target import image_of, target_of
from bakeroll.core.steps import advance
from bakeroll.links.console import JournalLink
from bakeroll.listeners.run_note import CAUSE, ROLLBACK
from bakeroll.operators.base import DeploymentOperator
from bakeroll.operators.rollout import FleetOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


MEND = (
    "Mend what is named, then clear this task or start a new run: both go on with the rollback; or deploy a "
    "mended version in its place, by a run with abandon_rollback"
)
REPLACE = (
    "What ran before cannot be brought back, neither by clearing this task nor by a new run: deploy a mended "
    "version in its place, by a run with abandon_rollback"
)


class BeginRollbackOperator(DeploymentOperator):
    """Note the rollback in the journal and reject the image; skipped if this run has changed nothing.

    The cause is that of the task that failed, among those that this one waits for.
    """

    ui_color = "#f8e6e6"
    operator_extra_links = (JournalLink(),)

    def work(self, context: Context) -> Any:
        """Decide whether there is anything to roll back, and begin with it."""
        deployment = self.deployment(context)
        step = rollback.BeginRollback(
            deployment.clients, deployment.ledger, deployment.name, cause=lambda: self._cause(context)
        )
        outcome = advance(step, self.log.info)
        result = getattr(outcome, "result", None)
        if result is None:
            raise AirflowSkipException("nothing to roll back")
        return result

    def _cause(self, context: Context) -> str:
        ti, dag = context["ti"], context["dag"]
        waited_for = context["task"].upstream_task_ids
        order = [one.task_id for one in dag.topological_sort() if one.task_id in waited_for]  # type: ignore[no-untyped-call]
        for task_id in order:
            for cause in ti.xcom_pull(task_ids=[task_id], key=CAUSE) or []:
                if cause:
                    return str(cause)
        states = ti.get_task_states(dag_id=dag.dag_id, task_ids=order, run_ids=[context["run_id"]])
        failed = sorted(
            task_id for task_id, state in states.get(context["run_id"], {}).items() if state == "failed"
        )
        return f"task {', '.join(failed) or 'of this run'} failed; its log says why"


class RestoreOperator(FleetOperator):
    """One step of one fleet's rollback: restore or verify_restored.

    :param fleet: the fleet's name.
    """

    ui_color = "#f8e6e6"

    def __init__(self, *, step: str, fleet: str, **kwargs: Any) -> None:
        super().__init__(step=step, fleet=fleet, wave=BACK_WAVE, **kwargs)

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Go on; one that cannot be finished says what state the fleets are in."""
        try:
            result = super().advance(context, arguments)
        except OwnershipLostError:
            raise
        except FinalError as error:
            deployment = self.deployment(context)
            journal = deployment.ledger.read()
            state = ". ".join(rollback.describe(deployment.clients, journal))
            step = MEND
            if target := target_of(journal.fleets[self.fleet]):
                step = step if image_of(deployment.clients, target) is not None else REPLACE
            raise RollbackError(
                f"{deployment.name} is not rolled back: {error}. State: {state}. {step}"
            ) from error
        if result is None:
            raise AirflowSkipException("nothing to go back to")
        return result


class EndRollbackOperator(DeploymentOperator):
    """Write the record of the rollback, give the journal back, and say what came of it."""

    ui_color = "#f8e6e6"
    operator_extra_links = (JournalLink(),)

    def work(self, context: Context) -> None:
        """End it; the run stays red all the same."""
        deployment = self.deployment(context)
        said = rollback.end(deployment.clients, deployment.ledger, deployment.environment.state_bucket)
        context["ti"].xcom_push(key=ROLLBACK, value=said)
        self.log.warning(said)
