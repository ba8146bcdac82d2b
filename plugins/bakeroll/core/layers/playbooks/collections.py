"""Ansible collections that lie among the playbooks: found by name, and taken in whole where mentioned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bakeroll.core.layers.input_files import FileSet

_PARTS = 3  # namespace.collection.name


class Collections:
    """The collections below some folders.

    :param folders: what Ansible calls collection paths; each may hold ``ansible_collections``.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        # The first one of a name wins, as with Ansible.
        self._found: dict[str, Path] = {}
        for folder in folders:
            for path in sorted(Path(folder, "ansible_collections").glob("*/*")):
                if path.is_dir():
                    self._found.setdefault(f"{path.parent.name}.{path.name}", path)

    def role(self, name: str) -> Path | None:
        """Return the folder of the role ``namespace.collection.role``, None if it is not here."""
        folder = self._of(name, "roles")
        return folder if folder and folder.is_dir() else None

    def playbook(self, name: str) -> Path | None:
        """Return the playbook ``namespace.collection.playbook``, None if it is not here."""
        path = self._of(name, "playbooks")
        endings = [path.with_name(f"{path.name}{suffix}") for suffix in (".yml", ".yaml")] if path else []
        return next((file for file in endings if file.is_file()), None)

    def roles_around(self, file: Path) -> list[Path]:
        """Return the roles' folder of the collection that a file belongs to, if it belongs to one."""
        return [path / "roles" for path in self._found.values() if file.is_relative_to(path)]

    def add_mentioned(self, files: FileSet, referred: str) -> None:
        """Take in every collection that an input file names, and those that they name in turn.

        Modules, filters and lookups may be named anywhere in a file, so any mention counts.

        :param referred: of which layer, for messages.
        """
        waiting = {
            name: re.compile(rb"\b" + re.escape(name.encode()) + rb"\b") for name in sorted(self._found)
        }
        searched: set[str] = set()
        while True:
            fresh = [file.path for file in files.files() if file.path not in searched and file.mode != "link"]
            searched.update(fresh)
            if not fresh or not waiting:
                return
            texts = [Path(files.root, path).read_bytes() for path in fresh]
            for name, pattern in list(waiting.items()):
                if any(pattern.search(text) for text in texts):
                    files.add_tree(self._found[name], referred)
                    del waiting[name]

    def _of(self, name: str, kind: str) -> Path | None:
        parts = name.split(".")
        collection = self._found.get(".".join(parts[:2])) if len(parts) >= _PARTS else None
        # Deeper roles and playbooks are written with dots.
        return collection.joinpath(kind, *parts[2:]) if collection else None
