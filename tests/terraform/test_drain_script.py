"""The drain script, run as SSM runs it: some assignments, then the text, given to sh."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.fake_fluentd import FakeFluentd, serving

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "terraform" / "modules" / "drain" / "drain.sh"
UNWATCHED = "f" * 16

IMPATIENT = {"STOP_UNITS": "", "TIMEOUT_SECONDS": "2"}
"""Gives up soon, and spends none of that time on a unit: to stop one takes long on a busy machine."""


class Host:
    """A folder with logs, position files and a systemctl that notes what it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.position_file = folder / "access.pos"
        self.stopped = folder / "stopped"
        self.systemctl(f'echo "$*" >> {self.stopped}')

    def systemctl(self, script: str) -> None:
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        program = bin_folder / "systemctl"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def log(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def position(self, path: Path, position: int | str, inode: int | None = None) -> None:
        if inode is None:
            inode = path.stat().st_ino
        text = position if isinstance(position, str) else f"{position:016x}"
        with self.position_file.open("a") as file:
            file.write(f"{path}\t{text}\t{inode:016x}\n")

    def drain(self, **values: str) -> Result:
        assignments = {
            "STOP_UNITS": "web.service",
            "TIMEOUT_SECONDS": "20",
            "RPC_ENDPOINT": "http://127.0.0.1:9",
            "MONITOR_ENDPOINT": "http://127.0.0.1:9",
            "POS_FILES": f"{self.folder}/*.pos",
        } | values
        text = "".join(f"{name}='{value}'\n" for name, value in assignments.items()) + SCRIPT.read_text()
        done = subprocess.run(
            ["sh", "-c", text],
            env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Result(done)


class Result:
    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.status = done.returncode
        self.reason = done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done.stdout
        document = json.loads(lines[0])
        assert set(document) == {"bakeroll_receipt"}
        self.receipt: dict[str, Any] = document["bakeroll_receipt"]
        assert set(self.receipt) == {
            "queue_length_before",
            "bytes_before",
            "records_before",
            "queue_length_after",
            "bytes_after",
            "records_after",
            "unread_bytes",
            "duration_seconds",
        }
        assert self.receipt["duration_seconds"] >= 0
        if self.status:
            assert len(self.reason.splitlines()) == 1, self.reason
        else:
            assert self.reason == ""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def fluentd() -> Iterator[FakeFluentd]:
    with serving(FakeFluentd(queue_length=2, queued_bytes=300)) as running:
        yield running


def at(fluentd: FakeFluentd) -> dict[str, str]:
    return {"RPC_ENDPOINT": fluentd.endpoint, "MONITOR_ENDPOINT": fluentd.endpoint}


def test_stops_units_in_order_flushes_and_gives_a_receipt(host: Host, fluentd: FakeFluentd) -> None:
    log = host.log("access.log", b"one\ntwo\n")
    host.position(log, 8)
    result = host.drain(**at(fluentd), STOP_UNITS="web.service worker@1.service")
    assert (result.status, result.reason) == (0, "")
    assert host.stopped.read_text().splitlines() == ["stop web.service", "stop worker@1.service"]
    del result.receipt["duration_seconds"]
    assert result.receipt == {
        "queue_length_before": 2,
        "bytes_before": 300,
        "records_before": 42,
        "queue_length_after": 0,
        "bytes_after": 0,
        "records_after": 42,
        "unread_bytes": 0,
    }


def test_flushes_again_while_something_is_left(host: Host) -> None:
    host.position(host.log("access.log", b""), 0)
    with serving(FakeFluentd(queue_length=1, queued_bytes=9, flushes_needed=2)) as fluentd:
        assert host.drain(**at(fluentd)).status == 0
        assert fluentd.flushes == 2


def test_waits_until_the_tailed_file_is_read_to_its_end(host: Host, fluentd: FakeFluentd) -> None:
    log = host.log("access.log", b"one\ntwo\n")
    host.position(log, 4)

    def read_on() -> None:
        # Fluentd writes the position in place.
        host.position_file.write_text(f"{log}\t{8:016x}\t{log.stat().st_ino:016x}\n")

    timer = threading.Timer(1.5, read_on)
    timer.start()
    result = host.drain(**at(fluentd))
    timer.join()
    assert result.status == 0
    assert result.receipt["unread_bytes"] == 0
    assert result.receipt["duration_seconds"] >= 1


def test_a_file_that_is_never_read_to_its_end_fails_without_a_flush(host: Host, fluentd: FakeFluentd) -> None:
    host.position(host.log("access.log", b"one\ntwo\n"), 4)
    result = host.drain(**at(fluentd), **IMPATIENT)
    assert result.status == 1
    assert result.receipt["unread_bytes"] == 4
    assert result.receipt["queue_length_before"] is None
    assert "4 bytes of tailed files are still unread" in result.reason
    assert fluentd.calls == []


def test_files_that_are_no_longer_followed_or_gone_do_not_count(host: Host, fluentd: FakeFluentd) -> None:
    host.position(host.log("old.log", b"not followed"), UNWATCHED)
    host.position(host.folder / "gone.log", 4, inode=1)
    assert host.drain(**at(fluentd)).status == 0


def test_a_rotated_file_is_read_to_its_end_and_then_the_new_one(host: Host, fluentd: FakeFluentd) -> None:
    log = host.log("access.log", b"0123456789")
    host.position(log, 7)
    log.rename(host.folder / "access.log.1")
    host.log("access.log", b"new")
    result = host.drain(**at(fluentd), **IMPATIENT)
    assert result.receipt["unread_bytes"] == 3 + 3


def test_a_new_file_that_is_followed_beside_the_rotated_one_counts_once(
    host: Host, fluentd: FakeFluentd
) -> None:
    log = host.log("access.log", b"0123456789")
    host.position(log, 10)
    log.rename(host.folder / "access.log.1")
    host.position(host.log("access.log", b"new"), 3)
    assert host.drain(**at(fluentd)).status == 0


def test_a_truncated_file_is_unread_from_its_start(host: Host, fluentd: FakeFluentd) -> None:
    host.position(host.log("access.log", b"short"), 100)
    assert host.drain(**at(fluentd), **IMPATIENT).receipt["unread_bytes"] == 5


def test_names_with_spaces_and_hexadecimal_positions(host: Host, fluentd: FakeFluentd) -> None:
    host.position(host.log("access of web.log", b"x" * 0xABC), 0xABC)
    assert host.drain(**at(fluentd)).status == 0


def test_a_buffer_that_stays_is_a_failure_with_its_receipt(host: Host) -> None:
    host.position(host.log("access.log", b""), 0)
    with serving(FakeFluentd(queue_length=3, queued_bytes=70, flushes_needed=99)) as fluentd:
        result = host.drain(**at(fluentd), **IMPATIENT)
    assert result.status == 1
    assert (result.receipt["queue_length_after"], result.receipt["bytes_after"]) == (3, 70)
    assert "still holds 70 bytes in 3 queued chunks" in result.reason


def test_a_unit_that_cannot_be_stopped_is_a_failure(host: Host, fluentd: FakeFluentd) -> None:
    host.systemctl('echo "Unit $2 not loaded." >&2; exit 5')
    host.position(host.log("access.log", b""), 0)
    result = host.drain(**at(fluentd))
    assert result.status == 3
    assert "web.service could not be stopped (status 5): Unit web.service not loaded." in result.reason
    assert fluentd.calls == []


def test_a_unit_that_does_not_stop_in_time_is_a_failure(host: Host, fluentd: FakeFluentd) -> None:
    host.systemctl("exec sleep 60")
    result = host.drain(**at(fluentd), TIMEOUT_SECONDS="3")
    assert result.status == 3
    assert "web.service did not stop within" in result.reason


def test_no_answer_of_fluentd_is_a_failure(host: Host) -> None:
    host.position(host.log("access.log", b""), 0)
    result = host.drain(**IMPATIENT)
    assert result.status == 4
    assert "http://127.0.0.1:9/api/plugins.json does not answer" in result.reason


def test_a_forwarder_that_does_not_count_records_is_drained_all_the_same(
    host: Host, fluentd: FakeFluentd
) -> None:
    host.position(host.log("access.log", b""), 0)
    fluentd.tells_records = False
    result = host.drain(**at(fluentd))
    assert result.status == 0
    assert (result.receipt["records_before"], result.receipt["records_after"]) == (None, None)


def test_a_forwarder_that_hangs_is_a_failure(host: Host, fluentd: FakeFluentd) -> None:
    host.position(host.log("access.log", b""), 0)
    fluentd.hangs.clear()
    try:
        result = host.drain(**at(fluentd), **IMPATIENT)
    finally:
        fluentd.hangs.set()
    assert result.status == 4
    assert "/api/plugins.json does not answer" in result.reason
    assert result.receipt["duration_seconds"] <= 2 + 10 + 5, "one call is the most that is waited for beyond"


def test_something_else_at_the_monitors_address_is_a_failure_that_shows_no_secrets(
    host: Host, fluentd: FakeFluentd
) -> None:
    host.position(host.log("access.log", b""), 0)
    fluentd.broken_monitor = True
    result = host.drain(**at(fluentd), **IMPATIENT)
    assert result.status == 4
    assert "s3cret" not in result.reason


def test_a_pattern_that_matches_no_position_file_is_an_error(host: Host, fluentd: FakeFluentd) -> None:
    result = host.drain(**at(fluentd), **IMPATIENT)
    assert result.status == 2
    assert "no position file matches" in result.reason
    assert result.receipt["unread_bytes"] is None


def test_no_pattern_means_that_nothing_is_tailed(host: Host, fluentd: FakeFluentd) -> None:
    assert host.drain(**at(fluentd), POS_FILES="", STOP_UNITS="").status == 0
    assert not host.stopped.exists()


def test_a_timeout_that_is_no_number_is_refused(host: Host) -> None:
    assert host.drain(TIMEOUT_SECONDS="1; reboot").status == 2


def test_the_text_has_nothing_that_ssm_would_take_for_a_parameter() -> None:
    assert "{{" not in SCRIPT.read_text()


class Collector:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.url = ""


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.lines += self.rfile.read(int(self.headers["Content-Length"])).splitlines()
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the forwarder ended"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{url} did not answer")


@contextmanager
def forwarding(host: Host, collector_url: str) -> Iterator[dict[str, str]]:
    """Run the demo's forwarder; gives its endpoints as the script takes them."""
    rpc, monitor = free_port(), free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "fluentd"],
        cwd=ROOT / "demo" / "application",
        env={
            "PATH": os.environ["PATH"],
            "FLUENTD_COLLECTOR_URL": collector_url,
            "FLUENTD_TAIL_PATH": str(host.folder / "access.log"),
            "FLUENTD_POS_FILE": str(host.position_file),
            "FLUENTD_BUFFER_PATH": str(host.folder / "buffer"),
            "FLUENTD_ADDRESS": "127.0.0.1",
            "FLUENTD_RPC_PORT": str(rpc),
            "FLUENTD_MONITOR_PORT": str(monitor),
        },
    )
    try:
        wait_until_answers(f"http://127.0.0.1:{monitor}/api/plugins.json", process)
        yield {
            "RPC_ENDPOINT": f"http://127.0.0.1:{rpc}",
            "MONITOR_ENDPOINT": f"http://127.0.0.1:{monitor}",
        }
    finally:
        process.terminate()
        process.wait(timeout=20)


def log_lines(host: Host) -> list[bytes]:
    """Write what an application would have logged."""
    lines = [f'{{"request": {number}}}'.encode() for number in range(2000)]
    with (host.folder / "access.log").open("ab") as file:
        file.write(b"\n".join(lines) + b"\n")
    return lines


def test_every_line_reaches_the_collector_of_the_demos_forwarder(host: Host) -> None:
    host.log("access.log", b"")
    with collecting() as collector, forwarding(host, collector.url) as endpoints:
        lines = log_lines(host)
        result = host.drain(**endpoints)
        assert (result.status, result.reason) == (0, "")
        assert result.receipt["bytes_before"] > 0
        assert result.receipt["records_after"] == len(lines)
        assert collector.lines == lines


def test_a_forwarder_whose_collector_takes_nothing(host: Host) -> None:
    host.log("access.log", b"")
    with forwarding(host, "http://127.0.0.1:9/") as endpoints:
        lines = log_lines(host)
        size = sum(len(line) + 1 for line in lines)
        result = host.drain(**endpoints, TIMEOUT_SECONDS="6")
        assert result.status == 1
        assert f"Fluentd still holds {size} bytes" in result.reason
        assert result.receipt["bytes_after"] == size
    assert sum(path.stat().st_size for path in (host.folder / "buffer").iterdir()) == size
