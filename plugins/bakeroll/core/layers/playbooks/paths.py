"""Where Ansible looks for a file that a playbook names, and what a templated name may stand for."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bakeroll.core.errors import InputError

_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)


@dataclass(frozen=True)
class Scope:
    """From where a name is looked up.

    :param file: the file that holds the reference.
    :param playbook_dir: the folder of the playbook being run.
    :param role: the role's folder, if the file belongs to one.
    """

    file: Path
    playbook_dir: Path
    role: Path | None = None

    def folders(self, kind: str) -> list[Path]:
        """Return the folders searched for a relative name, first match wins.

        Source: Ansible, "Search paths in Ansible" and ``DataLoader.path_dwim_relative_stack``.

        :param kind: ``tasks``, ``templates``, ``files`` or ``vars``.
        """
        here = self.file.parent
        own = [self.role / kind, self.role] if self.role else []
        found = [*own, here / kind, here, self.playbook_dir / kind, self.playbook_dir]
        return list(dict.fromkeys(found))

    def fill_in(self, name: str) -> str:
        """Replace the two variables whose values are known here: ``role_path`` and ``playbook_dir``."""
        known = {"playbook_dir": self.playbook_dir, "role_path": self.role}
        for variable, value in known.items():
            if value is not None:
                name = re.sub(r"\{\{\s*" + variable + r"\s*\}\}", str(value).replace("\\", r"\\"), name)
        return name


def templated(name: str) -> bool:
    """Tell whether a name depends on variables."""
    return _EXPRESSION.search(name) is not None


def resolve(name: str, scope: Scope, kind: str, suffixes: tuple[str, ...] = ("",)) -> Path | None:
    """Return the file or folder that a literal name stands for, or None.

    :param suffixes: what Ansible appends when a name has no extension.
    """
    folders = [Path("/")] if name.startswith("/") else scope.folders(kind)
    for folder in folders:
        for suffix in suffixes:
            candidate = Path(os.path.normpath(folder / (name + suffix)))
            if candidate.exists() or candidate.is_symlink():
                return candidate
    return None


def matching(name: str, scope: Scope, kind: str, among: Iterable[Path]) -> list[Path]:
    """Return those of some files that a templated name or a glob may stand for.

    Each expression stands for any text, as in the glob ``*``.
    """
    parts = _EXPRESSION.split(name)
    pattern = "*".join(part.replace("[", "[[]") for part in parts)
    found = []
    for path in among:
        for folder in [Path("/")] if name.startswith("/") else scope.folders(kind):
            relative = os.path.relpath(path, folder)
            # A bare "*" would also match what lies above the folder.
            if not relative.startswith("..") and fnmatch.fnmatchcase(relative, pattern):
                found.append(path)
                break
    return found


class ExtraInputs:
    """The files a layer's playbook declares for what cannot be traced.

    They stand in the play's variable ``bakeroll_extra_inputs``, as paths or globs relative to the
    playbook.

    :param variable: where they are declared, for messages.
    """

    variable = "bakeroll_extra_inputs"

    def __init__(self, playbook_dir: Path) -> None:
        self._playbook_dir = playbook_dir
        self.paths: list[Path] = []

    def declare(self, entry: str, place: str) -> list[Path]:
        """Take in one entry.

        :return: the files and folders it names.
        :raises InputError: if it matches nothing, so that a misspelt entry does not go unseen.
        """
        if templated(entry) or Path(entry).is_absolute():
            raise InputError(
                f"{place}: {self.variable}: {entry!r} is no path or glob relative to the playbook; write it "
                "as one"
            )
        found = sorted(self._playbook_dir.glob(entry))
        if not found:
            raise InputError(
                f"{place}: {self.variable}: {entry!r} matches no file; correct it, relative to the playbook"
            )
        self.paths += found
        return found

    def files(self) -> list[Path]:
        """Return every declared file, those in declared folders too."""
        found: list[Path] = []
        for path in self.paths:
            found += (
                sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
            )
        return found
