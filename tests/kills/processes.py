"""Finds what runs a task, and kills it as a machine that loses its power would: all of it, at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path


def runs(uuid: str) -> int | None:
    """Find the process of a task's try.

    :param uuid: Airflow's name of it, which is in the process's title.
    """
    title = f"airflow worker -- {uuid}".encode()
    for pid in _pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if line.startswith(title):
            return pid
    return None


def kill_hard(pid: int, *, with_parent: bool = True) -> list[int]:
    """Kill a process, the one that watches over it, and everything that either started.

    :param pid: of the task, or of a service.
    :param with_parent: whether its parent dies too: a task's supervisor does when its worker does.
    :return: what was killed.
    """
    parents = _parents()
    root = parents[pid] if with_parent else pid
    doomed = [root, *_below(root, parents)]
    for each in doomed:  # none of them may see another die first
        _signal(each, signal.SIGSTOP)
    doomed = [root, *_below(root, _parents())]
    for each in doomed:
        _signal(each, signal.SIGKILL)
    return doomed


def started_by(mark: str) -> set[int]:
    """Find the processes with a text in their command line or environment, and all that they started.

    :param mark: a stage's folder.
    """
    parents = _parents()
    found: set[int] = set()
    for pid in parents:
        try:
            shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(mark) in shown and pid != os.getpid():
            found |= {pid, *_below(pid, parents)}
    return found


def commands(temporary: Path, *names: str) -> list[str]:
    """List the command lines of running programs.

    :param temporary: where they have their temporary files; others are not ours.
    :param names: of the programs, without a path.
    """
    found = []
    ours = b"TMPDIR=" + os.fsencode(temporary)
    for pid in _pids():
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
            if Path(os.fsdecode(line[0])).name not in names:
                continue
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(each.startswith(ours) for each in variables):
            found.append(" ".join(map(os.fsdecode, line)))
    return found


def _pids() -> Iterable[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208 - quick enough


def _parents() -> dict[int, int]:
    found = {}
    for pid in _pids():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            continue
        found[pid] = int(stat.rpartition(")")[2].split()[1])
    return found


def _below(root: int, parents: dict[int, int]) -> list[int]:
    children = [pid for pid, parent in parents.items() if parent == root]
    return [each for child in children for each in (child, *_below(child, parents))]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended by itself
