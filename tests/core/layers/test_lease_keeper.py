"""The process beside Packer: it renews without the task, stops a Packer that lost its turn, ends like it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bakeroll.core.layers.lease_keeper import prefix
from bakeroll.core.lease import Lease, LeaseObject

REGION = "us-east-1"
# Stands for Packer: tells that it runs, and what ended it.
WAITING = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text("runs")
try:
    time.sleep(240)
except KeyboardInterrupt:
    pathlib.Path(sys.argv[1]).write_text("cleaned up")
    sys.exit(1)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Kept:
    """A lease, and a program that runs beside its keeper, in a session of its own."""

    def __init__(self, endpoint: str, folder: Path, bucket: str) -> None:
        make: Any = boto3.client
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        self.endpoint, self.note = endpoint, folder / "note"
        self.s3 = make("s3", REGION, endpoint_url=endpoint, **keys)
        self.s3.create_bucket(Bucket=bucket)
        self.mine = LeaseObject(self.s3, bucket, "leases/a.json", "a/1", seconds=1.0)
        self.env = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}

    def start(self, script: str) -> subprocess.Popen[str]:
        argv = [*prefix(self.mine, REGION, self.endpoint), sys.executable, "-c", script, str(self.note)]
        return subprocess.Popen(
            argv,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def held(self) -> Lease:
        held = self.mine.peek()
        assert held is not None
        return held

    def noted(self, text: str) -> bool:
        return self.note.exists() and self.note.read_text() == text


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_renews_on_its_own_and_stops_a_packer_whose_turn_is_lost(endpoint: str, tmp_path: Path) -> None:
    kept = Kept(endpoint, tmp_path, "renews")
    taken = kept.mine.take()
    assert taken is not None
    process = kept.start(WAITING)
    try:
        eventually(lambda: kept.held().renewed_at > taken.renewed_at)
        eventually(lambda: kept.noted("runs"))
        thief = LeaseObject(kept.s3, "renews", "leases/a.json", "b/1", now=lambda: time.time() + 1000)
        eventually(lambda: thief.take() is not None)
        output, _ = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, kept.note.read_text()) == (1, "cleaned up")
    assert "b took it over" in output
    assert kept.held().owner == "b/1"


def test_a_packer_whose_keeper_is_killed_is_told_to_stop(endpoint: str, tmp_path: Path) -> None:
    kept = Kept(endpoint, tmp_path, "killed")
    kept.mine.take()
    process = kept.start(WAITING)
    try:
        eventually(lambda: kept.noted("runs"))
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: kept.noted("cleaned up"))
    finally:
        process.communicate(timeout=120)


@pytest.mark.parametrize(("script", "status"), [("import sys; sys.exit(3)", 3), ("raise SystemExit", 0)])
def test_it_ends_as_the_program_does(endpoint: str, tmp_path: Path, script: str, status: int) -> None:
    process = Kept(endpoint, tmp_path, f"ends-{status}").start(script)
    process.communicate(timeout=120)
    assert process.returncode == status


def test_a_program_that_is_killed_is_told_apart(endpoint: str, tmp_path: Path) -> None:
    process = Kept(endpoint, tmp_path, "signal").start("import os; os.kill(os.getpid(), 9)")
    process.communicate(timeout=120)
    assert process.returncode == 128 + 9
