"""Which commit an application's branch or tag stands for."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from bakeroll.core.errors import InputError, RepositoryError

_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_TIMEOUT_SECONDS = 60
_NO_SUCH_REF = 2  # git ls-remote --exit-code
_PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "SSL_CERT_FILE", "GIT_SSL_CAINFO")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


def resolve_commit(repository: str, ref: str, env: Mapping[str, str] | None = None) -> str:
    """Return the commit that a branch, tag or full ref of a repository stands for.

    A full commit id is returned as it is: git cannot ask a server for one.

    :param repository: address of the git repository.
    :param ref: branch, tag, full ref (``refs/...``), ``HEAD``, or 40 hex digits.
    :param env: environment to take PATH, HOME, proxy and SSH settings from; the process's if None.
    :raises InputError: if there is no such ref, both a branch and a tag of that name, or a password in the
        address.
    :raises RepositoryError: if the repository does not answer; it may do so later.
    """
    shown = _without_secret(repository)
    if shown != repository:
        # The address is kept with the layer's inputs and is seen by whoever may read them.
        raise InputError(
            f"application {shown}: the address holds a password; take it out and let git's credential helper "
            "or an SSH key of the Airflow worker open the repository"
        )
    if _COMMIT.match(ref):
        return ref
    if repository.startswith("-") or ref.startswith("-"):
        raise InputError(f"application {shown}, ref {ref}: neither may begin with a dash")
    # A pattern of ls-remote also matches the ends of other refs; what counts is picked below.
    found = _list(repository, ref, env)
    heads = {found[name] for name in (ref, f"refs/heads/{ref}") if name in found}
    # An annotated tag is an object of its own; ^{} is the commit it points to.
    tag = f"refs/tags/{ref}"
    tags = {found.get(f"{tag}^{{}}") or found[tag]} if tag in found else set()
    if ref.startswith("refs/tags/") and f"{ref}^{{}}" in found:
        heads = {found[f"{ref}^{{}}"]}
    commits = heads | tags
    if not commits:
        raise InputError(f"application {shown} has no branch or tag {ref}; correct application.ref")
    if len(commits) > 1:
        raise InputError(
            f"application {shown} has a branch and a tag {ref} that differ; write refs/heads/{ref} or {tag}"
        )
    return commits.pop()


def _list(repository: str, ref: str, env: Mapping[str, str] | None) -> dict[str, str]:
    try:
        answer = subprocess.run(
            ["/usr/bin/env", "git", "ls-remote", "--exit-code", "--", repository, ref, f"{ref}^{{}}"],
            env=_environment(os.environ if env is None else env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RepositoryError(
            f"application {repository} did not answer within {_TIMEOUT_SECONDS} s; is it reachable from here?"
        ) from error
    if answer.returncode not in (0, _NO_SUCH_REF):
        said = " ".join(answer.stderr.split())
        raise RepositoryError(f"application {repository} cannot be read: {said or 'git gave no reason'}")
    lines = (line.split("\t", 1) for line in answer.stdout.splitlines() if "\t" in line)
    return {name: commit for commit, name in lines}


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    names = [*_PASSED_ON, *_PROXIES, *(name.lower() for name in _PROXIES)]
    passed = {name: given[name] for name in names if name in given}
    # Nobody is there to type a password or to accept a host key.
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C.UTF-8"}
    return {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes", **passed, **quiet}


def _without_secret(repository: str) -> str:
    parts = urlsplit(repository)
    # A user alone is a token where it is sent over HTTP, and just a name over SSH.
    if parts.password is None and not (parts.username and parts.scheme in ("http", "https")):
        return repository
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[1]))
