"""Which process something belongs to, so that whoever comes later can prove that it has ended.

A pid says nothing by itself: it is used again, and means something else in every container. Boot, pid
namespace, pid and start time together name one process for ever
(https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22;
https://man7.org/linux/man-pages/man7/pid_namespaces.7.html).
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
_GROUP_FIELD = 5 - 4
_START_FIELD = 22 - 4
"""Places among the fields after the state, which is the third; the command before it may hold spaces."""


@dataclass(frozen=True)
class Process:
    """One process of one machine, this time since it was started.

    :param host: the machine's name, for people.
    :param boot: the kernel's id of the machine's present boot; containers have that of their machine.
    :param pid_namespace: in which the pid counts.
    :param started: clock ticks between boot and its start.
    :param uid: of the user it runs as.
    """

    host: str
    boot: str
    pid_namespace: str
    pid: int
    started: int
    uid: int

    @classmethod
    def this(cls) -> Process:
        """Give the process that asks."""
        started = _started(os.getpid())
        if started is None:
            raise RuntimeError(f"{PROC}/{os.getpid()}/stat is not there; is {PROC} mounted?")
        return cls(socket.gethostname(), _boot(), _pid_namespace(), os.getpid(), started, os.getuid())

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Process:
        """Read what :meth:`as_dict` gave.

        :raises KeyError: if it is not that.
        :raises ValueError: likewise.
        """
        return cls(
            host=str(data["host"]),
            boot=str(data["boot"]),
            pid_namespace=str(data["pid_namespace"]),
            pid=int(data["pid"]),
            started=int(data["started"]),
            uid=int(data["uid"]),
        )

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        return asdict(self)

    def visible(self) -> bool:
        """Tell whether it can be looked at from here at all: same boot, same pids, our own user's."""
        return (
            self.boot == _boot() and self.pid_namespace == _pid_namespace() and os.geteuid() in {0, self.uid}
        )

    def alive(self) -> bool:
        """Tell whether it still runs; only for one that is :meth:`visible`."""
        return _started(self.pid) == self.started


def alive(pid: int) -> bool:
    """Tell whether a process of this pid runs."""
    return _stat(pid) is not None


def marked(marker: str) -> dict[int, str]:
    """Return the processes that have a marker in their environment: pid -> program.

    Whoever starts a process with a marker finds so all that this one started itself, also when the first
    has ended. Processes of other users are not seen (except by root), who cannot have inherited it.

    :param marker: ``NAME=value`` as it stands in the environment.
    """
    found: dict[int, str] = {}
    # Twice: one that was forked while its parent ended may be missing in one list of processes.
    for folder in [*PROC.glob("[0-9]*"), *PROC.glob("[0-9]*")]:
        try:
            if marker.encode() in (folder / "environ").read_bytes().split(b"\0"):
                program = (folder / "cmdline").read_bytes().split(b"\0")[0]
                found[int(folder.name)] = program.decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended, or is another user's
    return found


def end_marked(marker: str) -> None:
    """Kill the processes that have a marker in their environment."""
    for pid in marked(marker):
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue  # ended by itself
        try:
            if pid in marked(marker):  # asked again: now the handle keeps the pid from meaning another one
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            os.close(handle)


def group_members(group: int) -> list[int]:
    """Return the processes of a process group that have not ended.

    :param group: the group's id, the pid of the process that made it.
    """
    members = []
    for folder in PROC.glob("[0-9]*"):
        fields = _stat(int(folder.name))
        if fields and int(fields[_GROUP_FIELD]) == group:
            members.append(int(folder.name))
    return members


def user() -> str:
    """Return this user's name, or the uid where it has none, as in many a container."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _boot() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _pid_namespace() -> str:
    return str((PROC / "self/ns/pid").readlink())


def _started(pid: int) -> int | None:
    """Return a process's start time in clock ticks since boot; None if it has ended."""
    fields = _stat(pid)
    return int(fields[_START_FIELD]) if fields else None


def _stat(pid: int) -> list[str] | None:
    """Return the fields of a process's stat file from the fourth on; None if it has ended."""
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    # A zombie has ended: it only waits for its parent to ask how.
    return None if state in {"Z", "X"} else fields
