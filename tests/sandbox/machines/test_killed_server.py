"""What is left when the server is killed hard: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.machines.hypervisor import remove_state

PROGRAM = """\
import os, sys, time
from pathlib import Path
from sandbox.machines.hypervisor import RealHypervisor
from sandbox.model.ports import MachineSpec

def say(text): os.write(1, f"{text}\\n".encode())  # two threads may say something at once

class Events:
    def booted(self, instance_id): say("booted")
    def stopped(self, instance_id, reason): say("stopped")
    def terminated(self, instance_id): say("terminated")
    def failed(self, instance_id, reason): say(f"failed {reason}")

hypervisor = RealHypervisor(state_dir=Path(sys.argv[1]), cache_dir=Path(sys.argv[2]))
hypervisor.prepare("ami-source", lambda line: None)
for number in (1, 2):
    spec = MachineSpec(instance_id=f"i-{number}", image_id="ami-source", private_ip=f"127.10.78.{number}")
    hypervisor.boot(spec, Events())
time.sleep(120)
"""


@pytest.mark.real_machines
def test_machines_end_with_a_killed_server(tmp_path: Path, cache_dir: Path, needs_machines: None) -> None:
    root = Path(__file__).resolve().parents[3]
    state_dir = tmp_path / "state"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(state_dir), str(cache_dir)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as server:
        assert server.stdout is not None
        assert [server.stdout.readline() for _ in range(2)] == [b"booted\n"] * 2
        assert len(left_over(state_dir)) > 2
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=30)
    deadline = time.monotonic() + 30  # it is over in a moment; a busy machine may take its time
    while left := left_over(state_dir):
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    remove_state(state_dir)


def left_over(state_dir: Path) -> list[str]:
    """Find processes that see the state folder, its mounts on the host, and its machines' listening ports."""
    found = [line for line in Path("/proc/mounts").read_text().splitlines() if str(state_dir) in line]
    sockets = Path("/proc/net/tcp").read_text().splitlines()
    found += [
        line
        for line in sockets
        if line.split()[1].startswith(("014E0A7F:", "024E0A7F:")) and line.split()[3] == "0A"
    ]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
            text = (process / "mounts").read_text() + command
        except OSError:
            continue  # it ended in this moment
        if (str(state_dir) in text or "upperdir=machines/i-1/" in text) and int(process.name) != os.getpid():
            found.append(f"{process.name}: {command}")
    return found
