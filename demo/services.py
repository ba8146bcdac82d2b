"""Background processes that can be found and ended again, whatever became of the one that started them.

Each service carries a marker in its environment, which everything it starts inherits. So `make down` finds
all of them by looking at /proc, after a `kill -9` of the demo as well; no pid file can be stale.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.settings import ROOT, DemoError

MARKER = "BAKEROLL_SERVICE"
#: What Airflow's processes hold is thrown away with them: they get a moment to end, no more.
GRACE_SECONDS = 5.0
LAST_LINES = 15


@dataclass(frozen=True)
class Service:
    """A background process that was started here."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def require_running(self) -> None:
        """Look whether it still runs.

        :raises DemoError: with the end of its log if it does not.
        """
        status = self.process.poll()
        if status is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            raise DemoError(
                "\n".join([f"{self.name} ended with status {status}; its log, {self.log}, ends:", *lines])
            )


def start(
    name: str, argv: Sequence[str], environment: Mapping[str, str], build: Path, cwd: Path = ROOT
) -> Service:
    """Start a service in a session of its own, with its output in a log file.

    :param name: what it is called in messages and in the log's file name.
    :param argv: the program and its arguments.
    :param environment: its whole environment, to which the marker is added.
    :param build: the demo's folder; services of another clone are not ours.
    :param cwd: the folder to run in.
    """
    log = build / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    marked = {**environment, **mark(name, build)}
    with log.open("ab") as output:  # what a process that died had said is worth keeping
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=marked,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Service(name, process, log)


def mark(name: str, build: Path) -> dict[str, str]:
    """Give the variables that make a process one of ours.

    :param name: what it is called in messages.
    :param build: the demo's folder.
    """
    return {MARKER: f"{build}:{name}", "SPT_NOENV": "1"}  # setproctitle would wipe out the marker


def running(build: Path) -> dict[int, str]:
    """Find the processes of this clone's services and everything that they started.

    :param build: the demo's folder.
    :return: pid -> name of the service.
    """
    parents: dict[int, int] = {}
    found: dict[int, str] = {}
    prefix = f"{MARKER}={build}:".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            marks = [v for v in (entry / "environ").read_bytes().split(b"\0") if v.startswith(prefix)]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or is not ours
        if stat[0] == "Z":
            continue
        parents[int(entry.name)] = int(stat[1])
        if marks:
            found[int(entry.name)] = marks[0][len(prefix) :].decode()
    return _with_descendants(found, parents)


def stop(build: Path, grace_seconds: float = GRACE_SECONDS, *, only: str | None = None) -> list[str]:
    """End every service of this clone, first gently, and what is left after the grace time at once.

    :param build: the demo's folder.
    :param grace_seconds: how long they may take to finish.
    :param only: the one service to end; None for all.
    :return: the names of the services that ran.
    :raises DemoError: if something cannot be ended.
    """
    stopped = _chosen(build, only)
    _signal(stopped, signal.SIGTERM, grace_seconds)
    for _ in range(5):  # what was being started while we looked shows up in the next look
        left = _chosen(build, only)
        if not left:
            return sorted(set(stopped.values()))
        _signal(left, signal.SIGKILL, 5.0)
    raise DemoError(f"processes that cannot be ended: {_chosen(build, only)}")


def _chosen(build: Path, only: str | None) -> dict[int, str]:
    return {pid: name for pid, name in running(build).items() if only in {None, name}}


def _signal(processes: Mapping[int, str], number: signal.Signals, wait_seconds: float) -> None:
    """Signal processes and wait for their end, through handles that cannot mean another process."""
    handles = []
    for pid in processes:
        try:
            handle = os.pidfd_open(pid)
            handles.append(handle)
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            continue  # it ended by itself
    deadline = time.monotonic() + wait_seconds
    for handle in handles:
        select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        os.close(handle)


def _with_descendants(found: dict[int, str], parents: Mapping[int, int]) -> dict[int, str]:
    """Add the processes whose environment was cleaned by whoever started them."""
    result = dict(found)
    me = os.getpid()
    grown = True
    while grown:
        children = {
            pid: result[parent] for pid, parent in parents.items() if parent in result and pid not in result
        }
        grown = bool(children)
        result.update(children)
    result.pop(me, None)
    return result
