"""Follow a DAG run and say what happens as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable

from demo.airflow_client import AirflowClient, Run, Task
from demo.settings import DemoError

POLL_SECONDS = 1.0
#: A whole first deployment with three bakes takes a few minutes; this one hangs.
RUN_TIMEOUT_SECONDS = 1800.0
LAST_LINES = 40
MARKS = {
    "success": "✓",
    "skipped": "·",
    "failed": "✗",
    "upstream_failed": "✗",
    "up_for_retry": "↻",
    "running": "…",
    "deferred": "…",
}
#: Said when a task gets there; other states (scheduled, queued) are Airflow's own business.
SAID = frozenset(MARKS)


def follow(
    client: AirflowClient, dag_id: str, run_id: str, say: Callable[[str], None]
) -> tuple[Run, list[Task]]:
    """Wait for the end of a run, with a line for each task that starts or ends.

    :param client: Airflow's API.
    :param dag_id: the DAG.
    :param run_id: the run.
    :param say: takes a progress line.
    :return: the run and its task instances at their end.
    :raises DemoError: if it does not end in time.
    """
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    seen: dict[str, str | None] = {}
    while True:
        run = client.run(dag_id, run_id)  # before its tasks: at the end none of them is missed
        tasks = client.tasks(dag_id, run_id)
        for task in tasks:
            if task.state in SAID and _changed(seen.get(task.label), task.state):
                say(line(task))
                seen[task.label] = task.state
        if run.state in {"success", "failed"}:
            for task in tasks:
                if task.state == "failed":
                    say(f"the log of {task.label} ends:")
                    for text in client.log_lines(dag_id, run_id, task)[-LAST_LINES:]:
                        say(f"    {text}")
            return run, tasks
        if time.monotonic() > deadline:
            raise DemoError(f"run {run_id} has not ended after {RUN_TIMEOUT_SECONDS:.0f} s; tasks: {seen}")
        time.sleep(POLL_SECONDS)


def line(task: Task) -> str:
    """Put a task's state in a line.

    :param task: the task instance.
    """
    state = task.state or ""
    words = f"{MARKS.get(state, '?')} {task.label}"
    seconds = took_seconds(task)
    if state == "success" and seconds is not None:
        return f"{words} ({seconds:.0f} s)"
    return words if state in {"running", "success"} else f"{words} {state.replace('_', ' ')}"


def took_seconds(task: Task) -> float | None:
    """Give the time from a task's start to its end, waiting included."""
    if task.start is None or task.end is None:
        return task.duration_seconds
    return (task.end - task.start).total_seconds()


def _changed(before: str | None, now: str | None) -> bool:
    # a deferred task runs again for a moment to judge: not worth a line
    return before != now and not (before == "deferred" and now == "running")
