"""Write version, images and outcome of a deployment into the note of its run, which the UI shows.

A task cannot: Airflow's task SDK and execution API have no call that writes a note, and a worker has no
credentials for the REST API. The scheduler tells listeners of the end of each run, in the transaction in
which it notes the end itself and with the run's row locked
(https://airflow.apache.org/docs/apache-airflow/stable/administration-and-deployment/listeners.html); a note
set on that row is written together with it. Nothing is written or asked for but through that session: a
second one would wait for the row that the first has locked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl
from sqlalchemy import select
from sqlalchemy.orm import object_session

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

KEY = "run_note"
"""The XCom in which a deployment says what it deploys."""

UNDRAINED_KEY = "undrained"
"""The XCom in which a drain says which instances it could not drain; none where it drained all."""

CAUSE = "cause"
"""The XCom in which a task that failed says why, in one sentence."""

ROLLBACK = "rollback"
"""The XCom in which a rollback says what came of it."""

PREFIX = "bakeroll: "
"""How our line in a note begins; a person's lines stay."""

LONGEST = 1000
"""Characters of a note, in Airflow's database."""

_DEPLOYMENTS = "rolling_deployment_"
_RELEASE = "release"

log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001
    """Note a deployment that succeeded."""
    _note(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:  # noqa: ARG001
    """Note a deployment that failed."""
    _note(dag_run)


def _note(dag_run: DagRun) -> None:
    session = object_session(dag_run)
    if not dag_run.dag_id.startswith(_DEPLOYMENTS):
        return
    if session is None:
        log.warning("%s %s gets no note: its row is in no session", dag_run.dag_id, dag_run.run_id)
        return
    with session.no_autoflush:
        words = [outcome(dag_run, session), *_undrained(dag_run, session), _version(dag_run, session)]
        dag_run.note = merged(dag_run.note, "; ".join(words))


def merged(note: str | None, ours: str) -> str:
    """Put our line into a note, in the place of the one of an earlier end of the same run.

    :param note: the note as it is.
    :param ours: the line.
    """
    others = [line for line in (note or "").splitlines() if not line.startswith(PREFIX)]
    theirs = "\n".join(others)
    room = LONGEST - len(theirs) - 1
    line = f"{PREFIX}{ours}"
    if room < len(PREFIX):
        return theirs  # a person has filled the note, and that stays
    line = line if len(line) <= room else f"{line[: room - 1]}…"
    return f"{theirs}\n{line}" if theirs else line


def outcome(dag_run: DagRun, session: Session) -> str:
    """Say how a run ended."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415 - only the scheduler may have it

    states: dict[str, list[str]] = {}
    rows = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state).where(
            TaskInstance.dag_id == dag_run.dag_id, TaskInstance.run_id == dag_run.run_id
        )
    )
    for task_id, map_index, state in rows:
        states.setdefault(str(state), []).append(task_id if map_index < 0 else f"{task_id}[{map_index}]")
    if dag_run.state == "failed":
        failed = ", ".join(sorted(states.get("failed", [])))
        said = [f"failed at {failed}" if failed else "failed"]
        # A rollback that came to its end repeats the cause; one that did not says more than what it followed.
        said += _pushed(dag_run, session, ROLLBACK)[-1:] or _pushed(dag_run, session, CAUSE)[-1:]
        return ": ".join(said)
    return "deployed" if _RELEASE in states.get("success", []) else "nothing deployed"


def _undrained(dag_run: DagRun, session: Session) -> list[str]:
    """Name the instances that were not drained, before all that may be cut off."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - likewise

    query = XComModel.get_many(key=UNDRAINED_KEY, dag_ids=dag_run.dag_id, run_id=dag_run.run_id)
    values = session.execute(query.with_only_columns(XComModel.value)).all()
    named = [str(one) for row in values for one in XComModel.deserialize_value(row)]
    return [f"not drained: {', '.join(sorted(set(named)))}"] if named else []


def _version(dag_run: DagRun, session: Session) -> str:
    return next(iter(_pushed(dag_run, session, KEY)), "it came to no plan")


def _pushed(dag_run: DagRun, session: Session, key: str) -> list[str]:
    """Return what tasks of a run have pushed under a key, the oldest first."""
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - likewise

    query = XComModel.get_many(key=key, dag_ids=dag_run.dag_id, run_id=dag_run.run_id)
    found = session.execute(query.with_only_columns(XComModel.value, XComModel.timestamp)).all()
    return [str(XComModel.deserialize_value(one)) for one in sorted(found, key=lambda one: one.timestamp)]
