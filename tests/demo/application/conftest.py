"""The demo's programs as real processes on loopback addresses of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

APPLICATION = Path(__file__).resolve().parents[3] / "demo" / "application"
ADDRESS = "127.77.0.1"


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 20.0) -> None:
    """Poll a condition; fail the test with a reason if it never becomes true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_seconds} s in vain: {what}")
        time.sleep(0.02)


def free_port(address: str = ADDRESS) -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


class Program:
    """One started program."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], application: Path = APPLICATION
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLUENTD_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=application,
            env={**inherited, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=20)


class Web(Program):
    """The web application."""

    def __init__(self, log: Path, application: Path = APPLICATION) -> None:
        self.port = free_port()
        self.log = log
        arguments = ["web", "--address", ADDRESS, "--port", str(self.port), "--access-log", str(log)]
        super().__init__(arguments, {"WEB_SESSION_SECRET": "of-this-test"}, application)
        wait_until(lambda: self.health() == 200, "the web application's health check")

    def health(self) -> int:
        try:
            return get(self.port, "/health")[0]
        except OSError:
            return 0

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


class Forwarder(Program):
    """The stand-in for Fluentd."""

    def __init__(self, folder: Path, collector_url: str, **settings: str) -> None:
        self.folder = folder
        self.rpc_port, self.monitor_port = free_port(), free_port()
        environment = {
            "FLUENTD_COLLECTOR_URL": collector_url,
            "FLUENTD_TAIL_PATH": str(folder / "access.log"),
            "FLUENTD_POS_FILE": str(folder / "access.pos"),
            "FLUENTD_BUFFER_PATH": str(folder / "buffer"),
            "FLUENTD_ADDRESS": ADDRESS,
            "FLUENTD_RPC_PORT": str(self.rpc_port),
            "FLUENTD_MONITOR_PORT": str(self.monitor_port),
            "FLUENTD_REFRESH_INTERVAL_SECONDS": "0.02",
            "FLUENTD_RETRY_WAIT_SECONDS": "0.1",
        }
        super().__init__(["fluentd"], {**environment, **settings})
        wait_until(lambda: self.answers() or self.process.poll() is not None, "the forwarder's monitor agent")

    def answers(self) -> bool:
        try:
            return get(self.monitor_port, "/api/plugins.json")[0] == 200
        except OSError:
            return False

    def output(self) -> dict[str, object]:
        plugins = get(self.monitor_port, "/api/plugins.json")[1]["plugins"]
        assert isinstance(plugins, list)
        (entry,) = [plugin for plugin in plugins if plugin["output_plugin"]]
        return dict(entry)

    def flush(self) -> None:
        assert get(self.rpc_port, "/api/plugins.flushBuffers") == (200, {"ok": True})

    def position(self) -> tuple[int, int]:
        """Tell what the pos_file says: how far the file with which inode was read."""
        pos_file = self.folder / "access.pos"
        if not pos_file.exists():
            return -1, -1
        _, offset, inode = pos_file.read_text().split("\t")
        return int(offset, 16), int(inode, 16)

    def wait_read(self) -> None:
        log = (self.folder / "access.log").stat()
        wait_until(lambda: self.position() == (log.st_size, log.st_ino), "the log is read to its end")

    def empty(self) -> bool:
        output = self.output()
        return output["buffer_queue_length"] == 0 and output["buffer_total_queued_size"] == 0

    def flush_and_wait(self) -> None:
        self.flush()
        wait_until(self.empty, "the buffer is empty")


class Collector:
    """Takes what the forwarder sends, or refuses it while told to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.refuse = threading.Event()
        self.hold = threading.Event()
        self.hold.set()
        self.waiting = threading.Event()
        self.server = ThreadingHTTPServer((ADDRESS, 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://{ADDRESS}:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.waiting.set()
                collector.hold.wait(timeout=20)
                refused = collector.refuse.is_set()
                if not refused:
                    collector.headers.append(dict(self.headers))
                    collector.lines += body.decode().splitlines()
                self.send_response(503 if refused else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def waiting() -> Callable[[Callable[[], bool], str], None]:
    return wait_until


@pytest.fixture
def collector() -> Iterator[Collector]:
    it = Collector()
    yield it
    it.close()


@pytest.fixture
def start_forwarder(tmp_path: Path, collector: Collector) -> Iterator[Callable[..., Forwarder]]:
    started: list[Forwarder] = []

    def start(**settings: str) -> Forwarder:
        started.append(Forwarder(tmp_path, collector.url, **settings))
        return started[-1]

    yield start
    for forwarder in started:
        forwarder.kill()


@pytest.fixture
def start_web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    started: list[Web] = []

    def start(application: Path = APPLICATION) -> Web:
        started.append(Web(tmp_path / "access.log", application))
        return started[-1]

    yield start
    for web in started:
        web.kill()


@pytest.fixture
def web(start_web: Callable[..., Web]) -> Web:
    return start_web()
