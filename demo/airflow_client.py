"""What the demo asks of Airflow's REST API (version 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

import requests

from demo.settings import DemoError

#: A request to a server on this machine; it may be busy with four processes starting.
TIMEOUT_SECONDS = 120.0
#: Airflow's largest page, `[api] maximum_page_limit`.
PAGE = 100


@dataclass(frozen=True)
class Task:
    """One task instance as Airflow sees it now.

    :param state: Airflow's word, e.g. `running` or `skipped`; None before it was looked at.
    :param duration_seconds: of its last try, None while it has not ended.
    :param uuid: Airflow's own name for this try, which the process that runs it has in its title.
    """

    task_id: str
    map_index: int
    try_number: int
    state: str | None
    duration_seconds: float | None
    start: datetime | None
    end: datetime | None
    uuid: str

    @property
    def label(self) -> str:
        """The task's id, with its place among mapped ones."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


@dataclass(frozen=True)
class Run:
    """One DAG run as Airflow sees it now."""

    run_id: str
    state: str
    duration_seconds: float | None


class AirflowClient:
    """Airflow's API, as an administrator of the sandbox's Airflow.

    :param url: where the API server listens, without a path.
    :param login: gives name and password when they are needed; without it everybody is an administrator.
    """

    def __init__(self, url: str, login: Callable[[], tuple[str, str]] | None = None) -> None:
        self._url = url
        self._login = login
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of this machine knows nothing of its loopback addresses

    def lacking(self, dag_id: str) -> str:
        """Say what is not ready yet, or nothing.

        :param dag_id: the DAG that must have been read.
        """
        try:
            health = self._session.get(f"{self._url}/api/v2/monitor/health", timeout=TIMEOUT_SECONDS)
        except requests.ConnectionError:
            return "the API server"
        if health.status_code != requests.codes.ok:
            return "the API server"
        parts = cast("dict[str, dict[str, str]]", health.json())
        for part in ("metadatabase", "scheduler", "triggerer", "dag_processor"):
            if parts.get(part, {}).get("status") != "healthy":
                return f"the {part.replace('_', ' ')}"
        self._log_in()
        found = self._session.get(f"{self._url}/api/v2/dags/{quote(dag_id)}", timeout=TIMEOUT_SECONDS)
        return "" if found.status_code == requests.codes.ok else f"DAG {dag_id}"

    def import_errors(self) -> list[str]:
        """Give each DAG file that cannot be imported, with the last line of its error."""
        answer = self._call("GET", "/importErrors")
        return [f"{each['filename']}: {each['stack_trace'].strip()}" for each in answer["import_errors"]]

    def dag_ids(self) -> list[str]:
        """Give the ids of all DAGs that have been read."""
        return [dag["dag_id"] for dag in self._call("GET", "/dags", params={"limit": PAGE})["dags"]]

    def unpause(self, dag_id: str) -> None:
        """Let runs of a DAG start.

        :param dag_id: the DAG.
        """
        self._call("PATCH", f"/dags/{quote(dag_id)}", body={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any]) -> str:
        """Start a run, as the button in the UI does.

        :param dag_id: the DAG.
        :param conf: its parameters, only those that differ from their defaults.
        :return: the run's id.
        """
        body = {"logical_date": None, "conf": dict(conf)}
        return str(self._call("POST", f"/dags/{quote(dag_id)}/dagRuns", body=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Run:
        """Look at a run.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        answer = self._call("GET", f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}")
        return Run(run_id, answer["state"], answer.get("duration"))

    def mark_failed(self, dag_id: str, run_id: str) -> None:
        """End a run with all that it still does, as the button in the UI does.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        self._call("PATCH", f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}", body={"state": "failed"})

    def run_states(self, dag_id: str) -> dict[str, str]:
        """Look at the newest runs of a DAG, a page of them.

        :param dag_id: the DAG.
        :return: run id -> Airflow's word for its state.
        """
        query: dict[str, str | int] = {"limit": PAGE, "order_by": "-run_after"}
        found = self._call("GET", f"/dags/{quote(dag_id)}/dagRuns", params=query)["dag_runs"]
        return {each["dag_run_id"]: each["state"] for each in found}

    def tasks(self, dag_id: str, run_id: str) -> list[Task]:
        """Look at all task instances of a run.

        :param dag_id: the DAG.
        :param run_id: the run.
        """
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances"
        found: list[Task] = []
        while True:
            answer = self._call("GET", path, params={"limit": PAGE, "offset": len(found)})
            found += [_task(each) for each in answer["task_instances"]]
            if len(found) >= answer["total_entries"] or not answer["task_instances"]:
                return found

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Read what a task handed over, or None if it handed over nothing.

        :param dag_id: the DAG.
        :param run_id: the run.
        :param task_id: the task.
        :param key: the name it was handed over by.
        """
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task_id)}/xcomEntries"
        listed = self._call("GET", path, params={"limit": PAGE})["xcom_entries"]
        if key not in {entry["key"] for entry in listed}:
            return None
        return self._call("GET", f"{path}/{quote(key)}", params={"deserialize": "true"})["value"]

    def log_lines(self, dag_id: str, run_id: str, task: Task) -> list[str]:
        """Read the log of a task's last try.

        :param dag_id: the DAG.
        :param run_id: the run.
        :param task: the task instance.
        """
        path = f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id)}/taskInstances/{quote(task.task_id)}"
        answer = self._call("GET", f"{path}/logs/{task.try_number}", params={"map_index": task.map_index})
        return [_log_line(each) for each in answer["content"]]

    def _log_in(self) -> None:
        if "Authorization" not in self._session.headers:
            address = f"{self._url}/auth/token"
            if self._login:
                name, password = self._login()
                body = {"username": name, "password": password}
                answer = self._session.post(address, json=body, timeout=TIMEOUT_SECONDS)
            else:
                answer = self._session.get(address, timeout=TIMEOUT_SECONDS)
            answer.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        self._log_in()
        answer = self._session.request(
            method, f"{self._url}/api/v2{path}", params=params, json=body, timeout=TIMEOUT_SECONDS
        )
        if not answer.ok:
            raise DemoError(f"Airflow refused {method} {path} ({answer.status_code}): {answer.text}")
        return answer.json()


def _task(answer: Mapping[str, Any]) -> Task:
    return Task(
        task_id=answer["task_id"],
        map_index=answer["map_index"],
        try_number=answer["try_number"],
        state=answer["state"],
        duration_seconds=answer["duration"],
        start=_moment(answer["start_date"]),
        end=_moment(answer["end_date"]),
        uuid=answer["id"],
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _log_line(entry: Any) -> str:
    if not isinstance(entry, dict):
        return str(entry)
    event = str(entry.get("event", ""))
    causes = [f"{each['exc_type']}: {each['exc_value']}" for each in entry.get("error_detail") or ()]
    return " <- ".join([event, *causes])
