"""Following a run: each start and end is said once, and a failed task's log is shown."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from demo import watch
from demo.airflow_client import AirflowClient
from demo.settings import DemoError


def instance(
    task_id: str, state: str | None, map_index: int = -1, duration: float | None = None
) -> dict[str, Any]:
    return {
        "id": f"{task_id}/{map_index}",
        "task_id": task_id,
        "map_index": map_index,
        "try_number": 1,
        "state": state,
        "duration": duration,
        "start_date": None,
        "end_date": None,
    }


@contextmanager
def airflow(
    scenes: list[tuple[str, list[dict[str, Any]]]],
    page: int = 100,
    login: Callable[[], tuple[str, str]] | None = None,
) -> Iterator[AirflowClient]:
    """Serve what Airflow's API answers: one scene for each look at the run."""
    looks = iter(scenes)
    current: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            parts = path.split("/")
            if path == "/auth/token":
                self.answer({"access_token": "token"})
            elif self.headers["Authorization"] != "Bearer token":
                self.answer({"detail": "log in first"}, 401)
            elif parts[-2] == "dagRuns":
                state, tasks = next(looks)
                current[:] = tasks
                self.answer({"state": state, "duration": 1.5})
            elif parts[-1] == "taskInstances":
                offset = int(dict(each.split("=") for each in query.split("&"))["offset"])
                self.answer(
                    {"task_instances": current[offset : offset + page], "total_entries": len(current)}
                )
            elif parts[-2] == "logs":
                self.answer({"content": [{"event": "the reason", "error_detail": []}, {"event": "why"}]})
            else:
                self.answer({"detail": "not found"}, 404)

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = sent == {"username": "admin", "password": "generated"}
            self.answer({"access_token": "token"} if known else {"detail": "no"}, 201 if known else 401)

        def answer(self, body: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield AirflowClient(f"http://127.0.0.1:{server.server_address[1]}", login)
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.0)


def test_each_start_and_end_is_said_once() -> None:
    scenes = [
        ("queued", [instance("begin", None)]),
        ("running", [instance("begin", "running"), instance("drain", "scheduled", 0)]),
        ("running", [instance("begin", "running"), instance("drain", "queued", 0)]),
        ("running", [instance("begin", "success", duration=2.4), instance("drain", "deferred", 0)]),
        ("running", [instance("begin", "success", duration=2.4), instance("drain", "running", 0)]),
        ("running", [instance("begin", "success", duration=2.4), instance("drain", "deferred", 0)]),
        ("success", [instance("begin", "success", duration=2.4), instance("drain", "skipped", 0)]),
    ]
    said: list[str] = []
    with airflow(scenes) as client:
        run, tasks = watch.follow(client, "dag", "run", said.append)
    assert said == ["… begin", "✓ begin (2 s)", "… drain[0] deferred", "· drain[0] skipped"]
    assert run.state == "success"
    assert [task.task_id for task in tasks] == ["begin", "drain"]


def test_a_failed_tasks_log_is_shown() -> None:
    said: list[str] = []
    with airflow([("failed", [instance("apply", "failed")])]) as client:
        run, _ = watch.follow(client, "dag", "run", said.append)
    assert run.state == "failed"
    assert said == ["✗ apply failed", "the log of apply ends:", "    the reason", "    why"]


def test_more_tasks_than_a_page_holds_are_all_seen() -> None:
    many = [instance("drain", "success", index) for index in range(7)]
    with airflow([("success", many)], page=3) as client:
        _, tasks = watch.follow(client, "dag", "run", [].append)
    assert [task.map_index for task in tasks] == list(range(7))


def test_a_run_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RUN_TIMEOUT_SECONDS", -1.0)
    scenes = [("running", [instance("begin", "running")])]
    with airflow(scenes) as client, pytest.raises(DemoError, match="has not ended"):
        watch.follow(client, "dag", "run", [].append)


def test_a_refusal_is_an_error_with_airflows_words() -> None:
    with airflow([]) as client, pytest.raises(DemoError, match=r"refused GET /dags \(404\).*not found"):
        client.dag_ids()


def test_a_person_logs_in_with_name_and_password() -> None:
    with airflow([("success", [])], login=lambda: ("admin", "generated")) as client:
        assert client.run("dag", "run").state == "success"
    with (
        airflow([("success", [])], login=lambda: ("admin", "guessed")) as client,
        pytest.raises(requests.HTTPError),
    ):
        client.run("dag", "run")
