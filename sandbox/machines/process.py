"""The running half of a machine: its keeper process, from the server's side."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sandbox import leash
from sandbox.machines.errors import MachineError
from sandbox.machines.keeper import Plan
from sandbox.machines.namespaces import Namespaces

START_TIMEOUT_SECONDS = 20.0
"""How long mounts may take; they take milliseconds unless the host is drowning."""

REPOSITORY = Path(__file__).resolve().parents[2]


class MachineProcess:
    """One boot of a machine, from the start of its keeper to the end of its last process.

    :param plan: what it is made of.
    :param plan_file: where the plan is written for the keeper.
    :param console: the file that its console's output is added to.
    :param ended: called once, in another thread, with what its end looked like.
    :raises MachineError: if it could not be started; ``ended`` is not called then.
    """

    def __init__(self, plan: Plan, plan_file: Path, console: Path, ended: Callable[[str], None]) -> None:
        plan.write(plan_file)
        self.gone = threading.Event()
        self._ended = ended
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with console.open("ab") as stream:
            self._keeper = subprocess.Popen(
                [sys.executable, "-S", "-m", "sandbox.machines.keeper", str(plan_file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ.get("PATH", os.defpath)},
                cwd="/",
                start_new_session=True,
            )
        self._watcher = threading.Thread(target=self._watch, daemon=True, name=f"watch {plan.machine}")
        self._watcher.start()
        try:
            self.namespaces = Namespaces(self._wait_until_ready(plan.machine))
        except (MachineError, OSError):
            self._ended = lambda _: None
            self.kill()
            self.gone.wait(timeout=START_TIMEOUT_SECONDS)
            raise

    def terminate(self) -> None:
        """Ask its first process to stop the units and end."""
        self._tell(leash.TERMINATE)

    def kill(self) -> None:
        """End it now, by letting go of the leash."""
        if self._keeper.stdin is not None:
            with suppress(BrokenPipeError):
                self._keeper.stdin.close()

    def _tell(self, order: bytes) -> None:
        stream = self._keeper.stdin
        if stream is not None and not stream.closed:
            with suppress(BrokenPipeError):  # it ended in this moment, which is what was wanted
                stream.write(order)
                stream.flush()

    def _wait_until_ready(self, name: str) -> int:
        pid = 0
        ready = False
        while not (pid and ready):
            try:
                line = self._lines.get(timeout=START_TIMEOUT_SECONDS)
            except queue.Empty:
                raise MachineError(f"{name} was not built within {START_TIMEOUT_SECONDS:.0f} s") from None
            if line is None:
                raise MachineError(f"{name} could not be built: its console says why")
            if line.startswith("pid "):
                pid = int(line[4:])
            ready = ready or line == "ready"
        return pid

    def _watch(self) -> None:
        stream = self._keeper.stdout
        if stream is None:  # cannot be: it was opened with a pipe
            raise RuntimeError("the keeper was started without a pipe")
        with stream:
            for line in stream:
                self._lines.put(line.decode().strip())
        self._lines.put(None)
        status = self._keeper.wait()
        self.gone.set()
        self._ended(f"its first process ended with status {status}")


def answers_ssh(address: str) -> bool:
    """Tell whether an SSH server greets on the address's port 22."""
    try:
        with socket.create_connection((address, 22), timeout=1.0) as connection:
            connection.settimeout(1.0)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
