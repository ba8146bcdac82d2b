"""What ``requirements.yml`` takes from git repositories, apart from what it takes from Galaxy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from yaml.nodes import Node

from bakeroll.core.errors import InputError
from bakeroll.core.git import Source
from bakeroll.core.git.refs import without_secret
from bakeroll.core.layers.playbooks.nodes import compose, get, items, line_of, text_of

_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
_SCP_LIKE = re.compile(r"^[^/\s:]+@[^/\s:]+:")


@dataclass(frozen=True)
class FromGit:
    """A role or collection of a git repository.

    :param name: a role's name; empty for a collection, whose ``galaxy.yml`` names it.
    :param folder: of a collection in its repository; empty: the repository's own, or each one in it.
    """

    kind: Literal["role", "collection"]
    source: Source
    name: str = ""
    folder: str = ""


@dataclass(frozen=True)
class Requirements:
    """A requirements file, taken apart.

    :param from_git: what we fetch ourselves.
    :param rest: the file without it, as Ansible Galaxy gets it.
    """

    from_git: tuple[FromGit, ...]
    rest: str


def read(path: Path, shown: str) -> Requirements:
    """Read a requirements file.

    Both forms that Ansible knows are understood: ``scm: git`` or ``type: git``, and ``git+`` before the
    address. Source: Ansible, "Installing roles and collections from the same requirements.yml file" and
    "Installing a collection from a git repository".

    :param shown: the file's name in messages.
    :raises InputError: if an entry cannot be used, with file and line.
    """
    if not path.is_file():
        return Requirements((), "")
    root = compose(path, shown)
    roles, collections = items(root) or items(get(root, "roles")), items(get(root, "collections"))
    of_roles = [_role(entry, shown) for entry in roles]
    of_collections = [_collection(entry, shown) for entry in collections]
    found = tuple(entry for entry in (*of_roles, *of_collections) if entry is not None)
    if not found:
        return Requirements((), "")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    listed = content if isinstance(content, list) else content.get("roles") or []
    more = [] if isinstance(content, list) else content.get("collections") or []
    rest = {"roles": _others(listed, of_roles), "collections": _others(more, of_collections)}
    return Requirements(found, yaml.safe_dump(rest, sort_keys=True))


def _others(listed: list[Any], found: list[FromGit | None]) -> list[Any]:
    return [entry for entry, ours in zip(listed, found, strict=True) if ours is None]


def _role(entry: Node, shown: str) -> FromGit | None:
    address = text_of(get(entry, "src")) or text_of(get(entry, "name")) or text_of(entry) or ""
    if not _is_git(address, text_of(get(entry, "scm"))):
        return None
    address = address.removeprefix("git+")
    name = text_of(get(entry, "name")) if get(entry, "src") is not None else None
    if name is None:
        name = address.rstrip("/").replace(":", "/").rpartition("/")[2].removesuffix(".git")
    place = f"{shown}:{line_of(entry)}"
    if not _NAME.match(name):
        raise InputError(f"{place}: role {name!r} is no name for a folder; give it another by `name`")
    return FromGit("role", _source(entry, address, f"{place}: role {name}"), name)


def _collection(entry: Node, shown: str) -> FromGit | None:
    address = text_of(get(entry, "source")) or text_of(get(entry, "name")) or text_of(entry) or ""
    if not _is_git(address, text_of(get(entry, "type"))):
        return None
    address, _, folder = address.removeprefix("git+").partition("#")
    folder = folder.partition(",")[0].strip("/")
    place = f"{shown}:{line_of(entry)}"
    if ".." in folder.split("/"):
        raise InputError(f"{place}: {folder} leads out of the repository; name a folder in it")
    return FromGit("collection", _source(entry, address, f"{place}: collection of"), folder=folder)


def _is_git(address: str, kind: str | None) -> bool:
    if kind is not None:
        return kind == "git"
    if address.startswith("git+") or _SCP_LIKE.match(address):
        return True
    # As Ansible has it: an address at GitHub that is no archive is a repository.
    at_github = address.startswith("http") and "github.com" in address
    return at_github and not address.endswith((".tar.gz", ".zip"))


def _source(entry: Node, address: str, what: str) -> Source:
    version = text_of(get(entry, "version"))
    if not version:
        shown = without_secret(address)
        raise InputError(f"{what} {shown} has no version; add a branch, tag or commit")
    return Source(address, version, what, "its version")
