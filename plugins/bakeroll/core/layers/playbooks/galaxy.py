"""What a playbook takes from Ansible Galaxy: identified by name and version, not by what is installed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yaml.nodes import Node

from bakeroll.core.errors import InputError
from bakeroll.core.layers.playbooks.nodes import compose, get, items, line_of, pairs, text_of


@dataclass(frozen=True)
class Galaxy:
    """The roles and collections that ``requirements.yml`` names."""

    roles: frozenset[str] = frozenset()
    collections: frozenset[str] = frozenset()

    def provides_role(self, name: str) -> bool:
        """Tell whether a role comes from Galaxy: a listed role, or one of a listed collection."""
        return name in self.roles or self.provides(name)

    def provides(self, name: str) -> bool:
        """Tell whether ``namespace.collection.anything`` belongs to a listed collection."""
        return ".".join(name.split(".")[:2]) in self.collections and name.count(".") >= 2


def read(path: Path, shown: str) -> Galaxy:
    """Read a requirements file.

    :raises InputError: if a requirement has no version: what it brings then changes with the day, and
        a layer would no longer be its inputs.
    """
    if not path.is_file():
        return Galaxy()
    root = compose(path, shown)
    roles = items(root) or items(get(root, "roles"))
    return Galaxy(
        frozenset(_name(entry, shown) for entry in roles),
        frozenset(_name(entry, shown) for entry in items(get(root, "collections"))),
    )


def _name(entry: Node, shown: str) -> str:
    place = f"{shown}:{line_of(entry)}"
    name = text_of(get(entry, "name")) or text_of(get(entry, "src", "source"))
    if name is None:
        what = text_of(entry) or ", ".join(key for key, _ in pairs(entry)) or "an empty entry"
        raise InputError(f"{place}: {what} has no name of its own; write it as name and version")
    if not text_of(get(entry, "version")):
        raise InputError(
            f"{place}: {name} has no version, so the same inputs would bake other images; add one"
        )
    return name
