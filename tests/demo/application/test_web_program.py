"""The demo's web application: what it answers, what it logs, how it ends."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.alone

APPLICATION = Path(__file__).resolve().parents[3] / "demo" / "application"
ADDRESS = "127.77.0.1"


@pytest.fixture
def connection(web: Any) -> Any:
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, web.port, timeout=10)) as it:
        yield it


def ask(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=named)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_one_line_for_each_answered_request_on_one_connection(web: Any, connection: Any) -> None:
    local_ports = set()
    for number in range(20):
        status, body = ask(connection, "/", X_Request_Id=f"request-{number}")
        local_ports.add(connection.sock.getsockname()[1])
        assert (status, body["version"], body["hostname"]) == (200, "1", socket.gethostname())
        assert body["request_id"] == f"request-{number}"
    assert ask(connection, "/?id=by-query")[1]["request_id"] == "by-query"
    assert len(local_ports) == 1, "the connection was not kept alive"
    ids = [line["request_id"] for line in web.lines()]
    assert ids == [f"request-{number}" for number in range(20)] + ["by-query"]


def test_health_checks_are_not_logged_and_unknown_paths_are(web: Any, connection: Any) -> None:
    assert ask(connection, "/health")[0] == 200
    assert ask(connection, "/nothing")[0] == 404
    assert [(line["path"], line["status"]) for line in web.lines()] == [("/nothing", 404)]


def test_a_version_can_fail_while_its_health_check_is_green(start_web: Any, tmp_path: Path) -> None:
    application = tmp_path / "application"
    shutil.copytree(APPLICATION, application)
    (application / "FAULTS").write_text("pages\n")
    web = start_web(application)
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, web.port, timeout=10)) as connection:
        assert ask(connection, "/health")[0] == 200
        assert ask(connection, "/", X_Request_Id="1") == (500, {"error": "the pages of version 1 fail"})
    assert [(line["request_id"], line["status"]) for line in web.lines()] == [("1", 500)]


def test_a_line_is_written_before_its_answer(web: Any, connection: Any) -> None:
    for number in range(50):
        ask(connection, "/", X_Request_Id=str(number))
        assert web.lines()[-1]["request_id"] == str(number)


def test_sigterm_lets_open_requests_end_and_closes_idle_connections(web: Any, connection: Any) -> None:
    started = time.monotonic()
    connection.request("GET", "/slow", headers={"X-Request-Id": "slow"})
    with socket.create_connection((ADDRESS, web.port)) as idle:
        for _ in range(2):  # connected and answered after the slow one was sent, which is therefore open now
            idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert idle.recv(1000)
        web.signal(signal.SIGTERM)
        while idle.recv(1000):
            pass
    assert time.monotonic() - started < 2.5, "the idle connection was not closed at once"
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["request_id"]) == (200, "slow")
    assert answer.headers["Connection"] == "close"
    assert web.process.wait(timeout=10) == 0
    assert web.lines()[-1]["request_id"] == "slow"


@pytest.mark.parametrize("head", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"])
def test_what_is_no_request_is_refused(web: Any, head: bytes) -> None:
    with socket.create_connection((ADDRESS, web.port), timeout=5) as raw:
        raw.sendall(head)
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert web.lines() == []


def test_it_listens_on_what_the_hostname_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPLICATION))
    program = importlib.import_module("web.__main__")
    listened: list[tuple[str, int]] = []
    monkeypatch.setenv("WEB_SESSION_SECRET", "of-this-test")
    monkeypatch.setattr(socket, "gethostname", lambda: "ip-127-77-0-9")
    monkeypatch.setattr(socket, "gethostbyname", {"ip-127-77-0-9": "127.77.0.9"}.__getitem__)

    async def serve(_server: object, address: str, port: int) -> None:
        listened.append((address, port))

    monkeypatch.setattr(program, "_serve", serve)
    assert program.main(["--access-log", os.devnull]) == 0
    assert listened == [("127.77.0.9", 8080)]


def test_without_a_session_secret_it_does_not_start(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "WEB_SESSION_SECRET"}
    command = [sys.executable, "-m", "web", "--access-log", str(tmp_path / "access.log")]
    ended = subprocess.run(command, cwd=APPLICATION, env=environment, capture_output=True, check=False)
    assert ended.returncode == 2
    assert b"WEB_SESSION_SECRET" in ended.stderr
