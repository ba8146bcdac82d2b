"""The files that make up a layer: which count, and what of a file counts."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from bakeroll.core.errors import InputError

# Left out when a whole folder is an input: what editors, Python and git leave beside the files a person
# wrote. A file of such a name still counts if a playbook names it.
IGNORED_NAMES = (".git", "__pycache__", ".DS_Store", "*.pyc", "*~", ".*.sw?", "#*#", ".#*", "*.retry")


@dataclass(frozen=True, order=True)
class InputFile:
    """One file as it counts: where it is, how it is, what is in it; never when it was written.

    :param path: relative to the Packer folder, with forward slashes.
    :param mode: ``0644``, ``0755`` if its owner may execute it (as git does), or ``link``.
    :param sha256: hex digest of the bytes, or of the target's text for a symbolic link.
    """

    path: str
    mode: str
    sha256: str


class FileSet:
    """Collects input files below one root and refuses what lies outside.

    :param root: the Packer folder.
    """

    def __init__(self, root: Path) -> None:
        # Symbolic links on the way to the root do not matter, those below it do.
        self.root = root.resolve()
        self._files: dict[str, InputFile] = {}

    def __contains__(self, path: Path) -> bool:
        """Tell whether a path is among the files already."""
        return self._inside(path) and self.relative(path) in self._files

    def files(self) -> tuple[InputFile, ...]:
        """Return the files in the order of their paths."""
        return tuple(sorted(self._files.values()))

    def relative(self, path: Path) -> str:
        """Return the path below the root, as it stands in messages and in the fingerprint."""
        return Path(os.path.normpath(path)).relative_to(self.root).as_posix()

    def add_file(self, path: Path, referred: str) -> None:
        """Add one file, and what it points to if it is a symbolic link.

        :param referred: ``file:line`` of whoever needs it.
        :raises InputError: if it is missing or outside the root.
        """
        path = Path(os.path.normpath(path))
        if not self._inside(path):
            raise InputError(
                f"{referred}: {path} is outside {self.root.name}/, so it cannot be an input of a layer; "
                "move it below"
            )
        key = self.relative(path)
        if key in self._files:
            return
        if path.is_symlink():
            target = os.readlink(path)  # noqa: PTH115 - the text itself counts, not a normalised path
            self._files[key] = InputFile(key, "link", hashlib.sha256(target.encode()).hexdigest())
            self._add_target(path, target, referred)
            return
        if not path.is_file():
            raise InputError(f"{referred}: {key} does not exist; add it, or correct the name")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        mode = "0755" if path.stat().st_mode & 0o100 else "0644"
        self._files[key] = InputFile(key, mode, digest)

    def add_tree(self, folder: Path, referred: str) -> None:
        """Add every file below a folder but those of :data:`IGNORED_NAMES`.

        :raises InputError: if it is outside the root.
        """
        folder = Path(os.path.normpath(folder))
        if folder.is_symlink():
            self.add_file(folder, referred)
            return
        for entry in sorted(folder.iterdir()):
            if ignored(entry.name):
                continue
            if entry.is_dir() and not entry.is_symlink():
                self.add_tree(entry, referred)
            elif entry.is_symlink() or entry.is_file():
                self.add_file(entry, referred)

    def _add_target(self, link: Path, target: str, referred: str) -> None:
        pointed = Path(os.path.normpath(link.parent / target))
        if pointed.is_dir() and not link.is_relative_to(pointed):
            self.add_tree(pointed, referred)
        elif pointed.exists():
            self.add_file(pointed, referred)

    def _inside(self, path: Path) -> bool:
        return Path(os.path.normpath(path)).is_relative_to(self.root)


def ignored(name: str) -> bool:
    """Tell whether a name is one that tools leave behind."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in IGNORED_NAMES)
