"""The tasks of a rollback; what they do is in :mod:`bakeroll.core.rollout.rollback`.

One that fails, of whatever, says what state the fleets are in and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.deployment import BACK_WAVE, Deployment
from bakeroll.core.errors import (
    BakerollError,
    FinalError,
    OwnershipLostError,
    RollbackError,
    RollbackHeldUpError,
)
from bakeroll.core.rollout import rollback
from bakeroll.core.rollout.rollback.target import image_of, target_of
from bakeroll.core.steps import advance
from bakeroll.links.console import JournalLink
from bakeroll.listeners.run_note import CAUSE, ROLLBACK
from bakeroll.operators.base import DeploymentOperator
from bakeroll.operators.failures import sentence
from bakeroll.operators.rollout import DrainOperator, FleetOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.rollout.journal import Journal

UI_COLOR = "#f8e6e6"

GO_ON = (
    "Mend what is named, then clear this task or start a new run: both go on with the rollback; or deploy a "
    "mended version in its place, by a run with abandon_rollback"
)
NOT_BEGUN = (
    "No rollback is noted in the journal yet, and nothing has gone back. Mend what is named, then clear this "
    "task, which begins it; a new run would go forward instead"
)
NO_LONGER = "No rollback is noted in the journal, so there is none to go on with. Start a new run"
CLOSED = "The journal is closed: the rollback has ended, and there is nothing left to do"
UNREAD = "Mend what is named, then clear this task: it goes on where the rollback is"
REPLACE = (
    "What ran before cannot be brought back, neither by clearing this task nor by a new run: deploy a mended "
    "version in its place, by a run with abandon_rollback"
)


class BeginRollbackOperator(DeploymentOperator):
    """Note the rollback in the journal and reject the image; skipped if this run has changed nothing.

    The cause is that of the task that failed, among those that this one waits for.
    """

    ui_color = UI_COLOR
    operator_extra_links = (JournalLink(),)

    def work(self, context: Context) -> Any:
        """Decide whether there is anything to roll back, and begin with it."""
        with state_told(self, context, unnoted=NOT_BEGUN):
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


class _BackOperator(FleetOperator):
    """A task of one fleet's rollback: one that fails says what state the fleets are in."""

    def work(self, context: Context) -> Any:
        """Do all that can be done now; defer if the rest is waiting."""
        with state_told(self, context):
            return super().work(context)

    def resume(self, context: Context, event: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """Go on where the trigger saw something to do."""
        with state_told(self, context):
            return super().resume(context, event, arguments)


class RestoreOperator(_BackOperator):
    """One step of one fleet's rollback: restore or verify_restored.

    :param fleet: the fleet's name.
    """

    ui_color = UI_COLOR

    def __init__(self, *, step: str, fleet: str, **kwargs: Any) -> None:
        super().__init__(step=step, fleet=fleet, wave=BACK_WAVE, **kwargs)

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Go on; skipped if nothing ran before."""
        result = super().advance(context, arguments)
        if result is None:
            raise AirflowSkipException("nothing to go back to")
        return result


class DrainBackOperator(_BackOperator, DrainOperator):
    """Drains up to 50 instances that a rollback removed, or that the deployment had retired before it.

    :param fleet: the fleet's name.
    """

    def __init__(self, *, fleet: str, **kwargs: Any) -> None:
        super().__init__(fleet=fleet, wave=BACK_WAVE, **kwargs)


class EndRollbackOperator(DeploymentOperator):
    """Write the record of the rollback, give the journal back, and say what came of it."""

    ui_color = UI_COLOR
    operator_extra_links = (JournalLink(),)

    def work(self, context: Context) -> None:
        """End it; the run stays red all the same."""
        with state_told(self, context):
            deployment = self.deployment(context)
            said = rollback.end(deployment.clients, deployment.ledger, deployment.environment.state_bucket)
            context["ti"].xcom_push(key=ROLLBACK, value=said)
            self.log.warning(said)


@contextmanager
def state_told(operator: DeploymentOperator, context: Context, *, unnoted: str = NO_LONGER) -> Iterator[None]:
    """Have a task of a rollback that fails say what state the fleets are in, and what to do.

    What may go by itself is tried again as before: only the words are others.

    :param unnoted: what to do where the journal says of no rollback.
    :raises RollbackError: for a failure that trying again cannot help.
    :raises RollbackHeldUpError: for any other.
    """
    try:
        yield
    except (AirflowSkipException, OwnershipLostError):
        raise  # the one is no failure, and in the other another run has the fleets in hand
    except Exception as error:
        name = Path(operator.environment_file).stem
        kind = RollbackError if isinstance(error, FinalError) else RollbackHeldUpError
        state = _state(lambda: operator.deployment(context), unnoted)
        raise kind(f"the rollback of {name} is not finished: {sentence(error)}. {state}") from error


def _state(deployment: Callable[[], Deployment], unnoted: str) -> str:
    """Say what state the fleets are in and what to do, or why nobody knows."""
    try:
        found = deployment()
        journal = found.ledger.peek()
        if journal is None:
            return CLOSED
        state = ". ".join(rollback.describe(found.clients, journal))
        step = _next_step(found, journal, unnoted)
    except (BakerollError, BotoCoreError, ClientError, AirflowException) as error:
        return f"State: it could not be looked at: {sentence(error)}. {UNREAD}"
    return f"State: {state or 'no fleet is there yet'}. {step}"


def _next_step(deployment: Deployment, journal: Journal, unnoted: str) -> str:
    if journal.rollback is None:
        return unnoted
    targets = [target for record in journal.fleets.values() if (target := target_of(record))]
    deleted = [target for target in targets if image_of(deployment.clients, target) is None]
    return REPLACE if deleted else GO_ON
