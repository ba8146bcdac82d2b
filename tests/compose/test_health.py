"""Health checks pass on what the API server and the worker say, and fail when nobody answers."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from compose import health

HEALTH: dict[str, Any] = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "unhealthy"},
    "triggerer": {"status": None},
    "dag_processor": {"status": "healthy"},
}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/api/v2/monitor/health"
        body = json.dumps(HEALTH).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("part", "status", "said"),
    [
        ("api-server", 0, "api-server: healthy"),
        ("dag-processor", 0, "dag-processor: healthy"),
        ("scheduler", 1, "scheduler: scheduler is unhealthy to http"),
        ("triggerer", 1, "triggerer: triggerer is unknown to http"),
    ],
)
def test_a_part_is_as_healthy_as_the_api_server_says(
    api: str, part: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main([part, "--api", api]) == status
    assert capsys.readouterr().out.startswith(said)


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    assert health.main(["scheduler", "--api", f"http://127.0.0.1:{free}"]) == 1
    assert "no answer: ConnectionRefusedError" in capsys.readouterr().out
    broker = tmp_path / "broker_url"
    broker.write_text(f"redis://:secret-word@127.0.0.1:{free}/0")
    assert health.main(["worker", "--broker", str(broker)]) == 1
    said = capsys.readouterr().out
    assert "no answer: OSError" in said
    assert "secret-word" not in said


def test_a_worker_that_nobody_started_does_not_answer() -> None:
    """Through a broker in memory, which has no worker."""
    assert health.ask_worker("memory://", "nobody", wait_seconds=0.5) == "celery@nobody does not answer"


def test_an_address_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["worker"], ["scheduler"]):
        with pytest.raises(SystemExit):
            health.main(arguments)
    assert "--api ADDRESS" in capsys.readouterr().err
