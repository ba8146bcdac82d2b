"""Private folders for the time of one task."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_LOCK = ".lock"


@contextmanager
def private_folder(purpose: str) -> Iterator[Path]:
    """Give a folder that only this user can look into, and remove it whatever happens.

    A worker killed outright cannot remove its folder: the next one of the same purpose does, knowing it
    dead by its lock, and the tool it started, which may outlive it, by its working folder.

    :param purpose: a word for the folder's name.
    """
    prefix = f"bakeroll-{purpose}-"
    _sweep(prefix)
    folder, lock = _make(prefix)
    with lock:
        try:
            yield folder
        finally:
            # The tools' own children may still be writing their last words when the folder is emptied.
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                shutil.rmtree(folder)


def _make(prefix: str) -> tuple[Path, IO[str]]:
    """Make a folder and lock it; again, if it was taken for a dead one's before the lock was ours."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))  # mode 0700
        lock = (folder / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock.fileno()).st_nlink:
            return folder, lock
        lock.close()


def _sweep(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _worked_in(folder.resolve()):
                    shutil.rmtree(folder, ignore_errors=True)
        except (FileNotFoundError, BlockingIOError):
            continue  # being made, being removed, or in use by one that lives


def _worked_in(folder: Path) -> bool:
    """Tell whether a process of this user works there, as a tool that outlives its task does."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink().is_relative_to(folder):
                return True
        except OSError:
            continue  # it has ended, or is another user's
    return False
