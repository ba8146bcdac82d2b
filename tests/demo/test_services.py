"""Background processes are found and ended, whatever became of the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import services
from demo.settings import ROOT, DemoError

#: A child that leaves its parent's session, cleans its environment, and has a child of its own.
FAMILY = """
import os, subprocess, sys, time
own = subprocess.Popen(["sleep", "600"], start_new_session=True)
stranger = subprocess.Popen(["sleep", "600"], start_new_session=True, env={})
print("ready", flush=True)
time.sleep(600)
"""


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_family(build: Path) -> services.Service:
    service = services.start("family", [sys.executable, "-c", FAMILY], dict(os.environ), build)
    wait_for(lambda: "ready" in service.log.read_text())
    return service


def test_a_service_and_all_it_started_are_stopped(tmp_path: Path) -> None:
    start_family(tmp_path)
    wait_for(lambda: len(services.running(tmp_path)) == 3)
    assert services.stop(tmp_path) == ["family"]
    assert services.running(tmp_path) == {}


def test_what_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"{ignore}; print('ready', flush=True); time.sleep(600)"
    service = services.start("deaf", [sys.executable, "-c", deaf], dict(os.environ), tmp_path)
    wait_for(lambda: "ready" in service.log.read_text())
    assert services.stop(tmp_path, grace_seconds=0.1) == ["deaf"]
    assert service.process.wait(timeout=5) == -signal.SIGKILL


def test_services_outlive_a_starter_that_is_killed_and_are_found(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from demo import services\n"
        f"services.start('left', ['sleep', '600'], dict(os.environ), Path({str(tmp_path)!r}))\n"
        "print('started', flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    starter.stdout.readline()
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_for(lambda: list(services.running(tmp_path).values()) == ["left"])
    assert services.stop(tmp_path) == ["left"]


def test_one_service_is_stopped_alone(tmp_path: Path) -> None:
    for name in ("one", "other"):
        services.start(name, ["sleep", "600"], dict(os.environ), tmp_path)
    assert services.stop(tmp_path, only="one") == ["one"]
    assert list(services.running(tmp_path).values()) == ["other"]
    services.stop(tmp_path)


def test_another_clones_services_are_left_alone(tmp_path: Path) -> None:
    mine, other = tmp_path / "build", tmp_path / "build-2"
    services.start("sleeper", ["sleep", "600"], dict(os.environ), other)
    try:
        assert services.stop(mine) == []
        assert list(services.running(other).values()) == ["sleeper"]
    finally:
        services.stop(other)


def test_a_service_that_ended_tells_why(tmp_path: Path) -> None:
    service = services.start(
        "broken", [sys.executable, "-c", "raise SystemExit('no such luck')"], {}, tmp_path
    )
    service.process.wait()
    with pytest.raises(DemoError, match=r"(?s)broken ended with status 1.*no such luck"):
        service.require_running()
