"""Handles on a running machine's namespaces, good even after its process numbers went to others."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KINDS = {"mnt": "--mount", "pid": "--pid", "uts": "--uts", "ipc": "--ipc"}


class Namespaces:
    """The namespaces and the root folder of one machine, held by file descriptors.

    :param pid: its first process, seen from the host, which has entered its own root.
    :raises OSError: if it has ended in the meantime.
    """

    def __init__(self, pid: int) -> None:
        self._lock = threading.Lock()
        self._namespaces: dict[str, int] = {}
        self._root = -1
        try:
            for kind, option in KINDS.items():
                self._namespaces[option] = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
            self._root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            self.close()
            raise

    @contextmanager
    def entry(self, argv: list[str]) -> Iterator[tuple[list[str], list[int]]]:
        """Give the command that runs ``argv`` inside, and the descriptors that its process must inherit.

        The descriptors are copies: were the originals closed meanwhile, their numbers could be another
        machine's.

        :raises ProcessLookupError: if they were let go of.
        """
        with self._lock:
            if not self._namespaces:
                raise ProcessLookupError("the machine has ended")
            copies = {option: os.dup(number) for option, number in self._namespaces.items()}
        try:
            options = [f"{option}=/proc/self/fd/{number}" for option, number in copies.items()]
            yield ["nsenter", *options, "--", *argv], list(copies.values())
        finally:
            for number in copies.values():
                os.close(number)

    def read(self, path: str) -> str:
        """Return a file's text, empty if there is none.

        :param path: relative to the machine's root; no part of it may be a link.
        """
        with suppress(FileNotFoundError):
            number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._root)
            with os.fdopen(number, encoding="utf-8", errors="replace") as stream:
                return stream.read()
        return ""

    def locked(self, path: str) -> bool:
        """Tell whether a process holds a lock (flock(2)) on a file; False if there is none.

        :param path: relative to the machine's root; no part of it may be a link.
        """
        with self._lock:
            if self._root < 0:
                return False
            try:
                number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._root)
            except OSError:
                return False  # not there, or nothing that the agent has made
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(number)
        return False

    def close(self) -> None:
        """Let go of them: an open one keeps a dead machine's mounts alive."""
        with self._lock:
            for number in (*self._namespaces.values(), self._root):
                if number >= 0:
                    os.close(number)
            self._namespaces = {}
            self._root = -1


def host_sysctl(folder: Path) -> None:
    """Copy the host's kernel parameters to a folder: the machines' own start from these.

    :param folder: made by this.
    """
    source = Path("/proc/sys")
    for path in (source, *sorted(source.rglob("*"))):
        target = folder / path.relative_to(source)
        if path.is_dir():
            target.mkdir(parents=True)
            continue
        content = b""
        with suppress(OSError):  # some can only be written, some not be read outside of their subsystem
            content = path.read_bytes()
        target.write_bytes(content)
        target.chmod(path.stat().st_mode & 0o777)
