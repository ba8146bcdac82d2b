"""Where something comes from, and which commit its branch or tag stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from bakeroll.core.errors import InputError

_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_LINE = re.compile(r"^([0-9a-f]{40})\t(\S+)$")


@dataclass(frozen=True)
class Source:
    """A repository at a ref.

    :param repository: address of the git repository.
    :param ref: branch, tag, full ref (``refs/...``), ``HEAD``, or 40 hex digits.
    :param what: what it is, for messages, such as ``application``.
    :param setting: what to correct if the ref is wrong.
    """

    repository: str
    ref: str
    what: str = "application"
    setting: str = "application.ref"

    def __post_init__(self) -> None:
        """Refuse what must not be.

        :raises InputError: if a password is in the address, or git would take a part for an option.
        """
        if self.named != f"{self.what} {self.repository}":
            # The address is kept with the layer's inputs and is seen by whoever may read them.
            raise InputError(
                f"{self.named}: the address holds a password; take it out and name an Airflow connection for "
                "the host under git.connections in the environment file"
            )
        if self.repository.startswith("-") or self.ref.startswith("-"):
            raise InputError(f"{self.named}, ref {self.ref}: neither may begin with a dash; correct it")

    @property
    def named(self) -> str:
        """What and from where, for messages; never with a password."""
        return f"{self.what} {without_secret(self.repository)}"

    @property
    def key(self) -> str:
        """The source in one word, under which its commit is kept."""
        return f"{self.repository}@{self.ref}"

    @property
    def commit(self) -> str | None:
        """The commit, if the ref names one itself: git cannot ask a server for it."""
        return self.ref if _COMMIT.match(self.ref) else None


def patterns(sources: Iterable[Source]) -> list[str]:
    """Return what ``git ls-remote`` is asked for; ``^{}`` is the commit an annotated tag points to."""
    refs = dict.fromkeys(source.ref for source in sources)
    return [pattern for ref in refs for pattern in (ref, f"{ref}^{{}}")]


def parse(lines: Iterable[str]) -> dict[str, str]:
    """Return the commits by full ref, from the lines of ``git ls-remote``."""
    return {found[2]: found[1] for line in lines if (found := _LINE.match(line))}


def choose(source: Source, found: Mapping[str, str]) -> str:
    """Return the commit of a source's ref.

    :param found: commits by full ref. A pattern of ls-remote also matches the ends of other refs, so there
        may be more than was asked for.
    :raises InputError: if there is no such ref, or a branch and a tag of that name that differ.
    """
    ref = source.ref
    heads = {found[name] for name in (ref, f"refs/heads/{ref}") if name in found}
    tag = f"refs/tags/{ref}"
    tags = {found.get(f"{tag}^{{}}") or found[tag]} if tag in found else set()
    if ref.startswith("refs/tags/") and f"{ref}^{{}}" in found:
        heads = {found[f"{ref}^{{}}"]}
    commits = heads | tags
    if not commits:
        raise InputError(
            f"{source.named} has no branch or tag {ref}; correct {source.setting} "
            "(a commit needs all 40 digits)"
        )
    if len(commits) > 1:
        raise InputError(
            f"{source.named} has a branch and a tag {ref} that differ; write refs/heads/{ref} or {tag}"
        )
    return commits.pop()


def without_secret(repository: str) -> str:
    """Return an address without a name and password in it."""
    parts = urlsplit(repository)
    # A user alone is a token where it is sent over HTTP, and just a name over SSH.
    if parts.password is None and not (parts.username and parts.scheme in ("http", "https")):
        return repository
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))


def host(repository: str) -> str:
    """Return the host of an address, with its port if it names one; empty for a path."""
    if "://" in repository:
        return urlsplit(repository).netloc.rpartition("@")[2].lower()
    before, colon, _ = repository.partition(":")  # git@host:path
    return before.rpartition("@")[2].lower() if colon and "/" not in before else ""
