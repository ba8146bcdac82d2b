"""The state folder: whose it is, whether its server lives, and how to remove both."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

MARKER = "server.json"
LOG = "server.log"

STOP_SECONDS = 30.0
"""How long a server may take to end its machines before it is killed."""

GONE_SECONDS = 15.0
"""How long the machines and proxies of a dead server may take to notice and end."""


class StateError(Exception):
    """The state folder does not allow what was asked; the text is one line with the next step."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server that a state folder belongs to."""

    pid: int
    started: str
    """The kernel's start time of the process, since process ids are used again."""
    port: int

    @property
    def alive(self) -> bool:
        """Tell whether that very process still runs."""
        return start_time(self.pid) == self.started


def start_time(pid: int) -> str | None:
    """Return a process's start time in clock ticks since boot, None if there is no such process any more."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else fields[19]


def read(state_dir: Path) -> Server | None:
    """Return the server a state folder belongs to, None if the folder is no server's."""
    try:
        return Server(**json.loads((state_dir / MARKER).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def require_unused(state_dir: Path) -> None:
    """Make sure that no server, alive or dead, has left its state.

    :raises StateError: if one has.
    """
    server = read(state_dir)
    if server is None:
        return
    if server.alive:
        message = f"a sandbox runs already (process {server.pid}, port {server.port}); `make down` stops it"
        raise StateError(message)
    message = f"{state_dir} holds the state of a killed server; `make down` removes it"
    raise StateError(message)


def claim(state_dir: Path, port: int) -> None:
    """Write down that the state folder is this process's.

    :raises StateError: if it is another's.
    """
    require_unused(state_dir)
    state_dir.mkdir(parents=True, exist_ok=True)
    server = Server(pid=os.getpid(), started=start_time(os.getpid()) or "", port=port)
    try:
        with (state_dir / MARKER).open("x", encoding="utf-8") as stream:
            json.dump(asdict(server), stream)
    except FileExistsError:
        require_unused(state_dir)
        raise


def release(state_dir: Path) -> None:
    """Remove the folder of this process's server, all but its log."""
    for path in state_dir.iterdir():
        if path.name == LOG:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def remove(state_dir: Path, say: Callable[[str], None]) -> None:
    """Stop the server if it lives, wait until nothing of it is left, and remove its folder.

    :param say: gets one line per step.
    :raises StateError: if something of it cannot be ended.
    """
    server = read(state_dir)
    if server is None:
        if (state_dir / LOG).exists():
            shutil.rmtree(state_dir)
        say("no sandbox is there")
        return
    if server.alive:
        say(f"stopping the server (process {server.pid})")
        os.kill(server.pid, signal.SIGTERM)
        if not _wait(lambda: not server.alive, STOP_SECONDS):
            say("it does not end; killing it")
            os.kill(server.pid, signal.SIGKILL)
    else:
        say("the server was killed; removing what it left")
    if not _wait(lambda: not any(_processes(state_dir)), GONE_SECONDS):
        for pid in _processes(state_dir):
            os.kill(pid, signal.SIGKILL)
        if not _wait(lambda: not any(_processes(state_dir)), GONE_SECONDS):
            message = f"processes {', '.join(map(str, _processes(state_dir)))} of {state_dir} do not end"
            raise StateError(message)
    shutil.rmtree(state_dir)
    say("nothing of it is left")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _processes(state_dir: Path) -> Iterator[int]:
    """Return the machines' keepers and the proxies: they work in the state folder or were given its files."""
    prefix = f"{state_dir.resolve()}/"
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            place = f"{(folder / 'cwd').readlink()}/"
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has just ended, or it is nobody whom this user could have started
        ours = {"haproxy", "sandbox.leash", "sandbox.machines.keeper"} & set(arguments)
        if ours and any(path.startswith(prefix) for path in (*arguments, place)):
            yield int(folder.name)
