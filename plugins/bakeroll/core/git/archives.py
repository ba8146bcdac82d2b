"""The files of commits, kept by repository and commit, so that each is fetched once."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bakeroll.core.errors import InputError

CACHE_SETTING = "BAKEROLL_CACHE"
KEPT_SECONDS = 30 * 24 * 3600
"""An archive that nobody asked for in this time goes."""

_UNFINISHED = ".unfinished-"
_UNFINISHED_SECONDS = 24 * 3600


class Archives:
    """A folder of archives that any number of workers use at once.

    A file has its final name only when it is whole and on the disk, and its content follows from its name,
    so neither a kill nor a second worker can spoil it. Only this user can look into it: the sources may be
    private.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, repository: str, commit: str) -> Path | None:
        """Return a kept archive, or None."""
        path = self._path(repository, commit)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def keep(self, repository: str, commit: str, made: Path) -> Path:
        """Keep an archive under its name.

        :param made: the finished file; it is copied.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._sweep()
        handle, name = tempfile.mkstemp(prefix=_UNFINISHED, dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as target, made.open("rb") as source:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            path = self._path(repository, commit)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return path

    def _path(self, repository: str, commit: str) -> Path:
        # The repository counts too: who may read one is not thereby let into another.
        return self._folder / f"{hashlib.sha256(repository.encode()).hexdigest()[:16]}-{commit}.tar.gz"

    def _sweep(self) -> None:
        now = time.time()
        for path in self._folder.iterdir():
            longest = _UNFINISHED_SECONDS if path.name.startswith(_UNFINISHED) else KEPT_SECONDS
            try:
                if now - path.stat().st_mtime > longest:
                    path.unlink()
            except FileNotFoundError:
                continue  # another worker sweeps too


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Name the folder of the archives.

    :param environ: the worker's environment.
    """
    chosen = environ.get(CACHE_SETTING)
    if chosen:
        return Path(chosen).absolute() / "git"
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or Path.home(), ".cache"))
    return Path(home).absolute() / "bakeroll" / "git"


def unpack(archive: Path, target: Path, what: str) -> None:
    """Unpack an archive into a folder, made for it.

    :raises InputError: if it holds what would land outside the folder.
    """
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as opened:
            opened.extractall(target, filter="data")
    except tarfile.FilterError as error:
        raise InputError(
            f"{what}: {error}; such a link or name cannot be taken in; remove it there"
        ) from error
