"""What git says when it cannot read a repository, as one line with the next step."""

from __future__ import annotations

from collections.abc import Sequence

from bakeroll.core.errors import BakerollError, InputError, RepositoryError
from bakeroll.core.git.access import Access
from bakeroll.core.git.refs import Source, host

_CREDENTIALS = (
    "authentication failed", "could not read username", "could not read password",
    "permission denied (", "returned error: 401", "returned error: 403", "http basic: access denied",
)  # fmt: skip
_HOST_KEY = ("host key verification failed",)
_CERTIFICATE = ("certificate verif", "ssl certificate problem", "certificate subject name")
_NOT_THERE = (
    "repository not found", "does not appear to be a git repository", "returned error: 404",
    "repository not exported", "could not be found or you don't have permission",
)  # fmt: skip
_NO_SUCH_COMMIT = ("not our ref", "unadvertised object", "couldn't find remote ref")


def refusal(source: Source, said: str, accesses: Sequence[Access]) -> BakerollError:
    """Return the error for what git said.

    :param said: its output; it names addresses, in which there is no secret.
    """
    text, shown = said.lower(), " ".join(said.split()) or "git gave no reason"
    place = host(source.repository)
    # SSH takes a host's key whatever the port.
    exact = [access.connection for access in accesses if access.host == place]
    by_key = [each.connection for each in accesses if each.private_key and each.hostname == _hostname(place)]
    named = exact or ([] if source.repository.startswith("https:") else by_key)
    connection = named[0] if named else None
    if _any(text, _HOST_KEY):
        where = f"connection {connection}'s extra known_hosts" if connection else "the worker's known_hosts"
        return InputError(f"{source.named}: the host key of {place} is not known; add it to {where}")
    if _any(text, _CERTIFICATE):
        where = f"connection {connection}'s extra" if connection else f"a connection for {place}"
        return InputError(
            f"{source.named}: nobody trusted vouches for the certificate of {place}; if its authority is "
            f"your own, put that into {where} as ca_certificate"
        )
    if _any(text, _CREDENTIALS):
        if connection:
            return InputError(
                f"{source.named}: {place} refused what connection {connection} holds; correct its login, "
                "password or private_key"
            )
        return InputError(
            f"{source.named}: {place or 'the repository'} gives nothing without credentials; name a "
            "connection for the host under git.connections"
        )
    if _any(text, _NOT_THERE) or ("repository '" in text and "' not found" in text):
        by_whom = f"with connection {connection}" if connection else "without a connection (git.connections)"
        return InputError(
            f"{source.named} does not exist, or may not be seen {by_whom}; correct the address or the access"
        )
    return RepositoryError(f"{source.named} cannot be read: {shown}")


def lacks_commit(said: str) -> bool:
    """Tell whether a server only would not give a commit by its id."""
    return _any(said.lower(), _NO_SUCH_COMMIT)


def _hostname(place: str) -> str:
    return place.partition(":")[0]


def _any(text: str, signs: tuple[str, ...]) -> bool:
    return any(sign in text for sign in signs)
