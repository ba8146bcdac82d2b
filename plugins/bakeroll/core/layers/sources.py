"""The Packer folder as a layer sees it: with the roles and collections that come from git repositories.

They are put where Ansible Galaxy would install them, at exactly the commit that their ref stood for when
the run decided. From there on they are files like any other: a layer's inputs are traced into them, they
count by their content, and what a layer does not reach is none of its inputs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeroll.core.errors import InputError
from bakeroll.core.git import Git
from bakeroll.core.git.archives import unpack
from bakeroll.core.layers.input_files import IGNORED_NAMES
from bakeroll.core.layers.playbooks import requirements
from bakeroll.core.layers.playbooks.nodes import compose, get, text_of
from bakeroll.core.layers.playbooks.requirements import FromGit
from bakeroll.core.private_folder import private_folder

_REQUIREMENTS = "provisioners/requirements.yml"
# Where packer/layer.pkr.hcl has Galaxy install, and ansible.cfg looks.
_INSTALLED = ".galaxy"
_ROLES = f"provisioners/{_INSTALLED}/roles"
_COLLECTIONS = f"provisioners/{_INSTALLED}/collections/ansible_collections"
_PARTS_OF_A_ROLE = ("tasks", "handlers", "defaults", "vars", "meta", "files", "templates")


@dataclass(frozen=True)
class Prepared:
    """A Packer folder with nothing left to fetch but what comes from Galaxy.

    :param packer_dir: the folder; a private copy if something was fetched.
    :param commits: of what was fetched, by repository and ref.
    """

    packer_dir: Path
    commits: Mapping[str, str]


@contextmanager
def prepared(
    packer_dir: Path, git: Git, decided: Mapping[str, str], say: Callable[[str], object]
) -> Iterator[Prepared]:
    """Give the Packer folder with all that ``requirements.yml`` takes from git repositories.

    :param decided: commits by repository and ref, which are taken wherever their refs point to by now.
    :param say: gets a line for each commit.
    :raises InputError: if a ref, a role or a collection is not there, or a repository cannot be opened.
    :raises RepositoryError: if a repository does not answer.
    """
    wanted = requirements.read(packer_dir / _REQUIREMENTS, _REQUIREMENTS)
    if not wanted.from_git:
        yield Prepared(packer_dir, {})
        return
    sources = [entry.source for entry in wanted.from_git]
    commits = {source.key: decided[source.key] for source in sources if source.key in decided}
    commits |= git.commits(source for source in sources if source.key not in commits)
    with private_folder("layers") as work:
        copy = work / "packer"
        left_out = shutil.ignore_patterns(_INSTALLED, *IGNORED_NAMES)
        shutil.copytree(packer_dir, copy, symlinks=True, ignore=left_out)
        for number, entry in enumerate(wanted.from_git):
            commit = commits[entry.source.key]
            say(f"{entry.source.named} {entry.source.ref} is commit {commit}")
            fetched = work / str(number)
            unpack(git.archive(entry.source, commit), fetched, entry.source.named)
            (_install_role if entry.kind == "role" else _install_collections)(entry, fetched, copy)
        (copy / _REQUIREMENTS).write_text(wanted.rest, encoding="utf-8")
        yield Prepared(copy, commits)


def _install_role(entry: FromGit, fetched: Path, copy: Path) -> None:
    if not any((fetched / part).is_dir() for part in _PARTS_OF_A_ROLE):
        raise InputError(
            f"{entry.source.named} is no role: it holds none of {', '.join(_PARTS_OF_A_ROLE)}; correct the "
            "repository or the version"
        )
    _move(entry, fetched, copy / _ROLES / entry.name)


def _install_collections(entry: FromGit, fetched: Path, copy: Path) -> None:
    top = fetched / entry.folder
    # A repository is a collection, or holds several side by side.
    described = [top / "galaxy.yml"] if (top / "galaxy.yml").is_file() else sorted(top.glob("*/galaxy.yml"))
    if not described:
        raise InputError(
            f"{entry.source.named} is no collection: there is no {Path(entry.folder, 'galaxy.yml')}; correct "
            "the repository, the version, or the folder after #"
        )
    for file in described:
        root = compose(file, f"{entry.source.named}: {file.relative_to(fetched)}")
        namespace, name = text_of(get(root, "namespace")), text_of(get(root, "name"))
        if not (namespace and name and namespace.isidentifier() and name.isidentifier()):
            raise InputError(
                f"{entry.source.named}: {file.relative_to(fetched)} has no namespace and name; add them"
            )
        _move(entry, file.parent, copy / _COLLECTIONS / namespace / name)


def _move(entry: FromGit, fetched: Path, target: Path) -> None:
    if target.exists():
        raise InputError(f"{entry.source.named}: {target.name} is in requirements.yml twice; keep one")
    target.parent.mkdir(parents=True, exist_ok=True)
    fetched.rename(target)
