"""What opens private git repositories, through Airflow connections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from bakeroll.core.config import Environment
from bakeroll.core.errors import ConfigError
from bakeroll.core.git import Access
from bakeroll.core.git.access import DEFAULT_LOGIN

if TYPE_CHECKING:
    from airflow.sdk import Connection


class GitAccessHook(BaseHook):
    """Reads the connections of an environment's ``git.connections``.

    Their fields are named as those of Airflow's git provider, which is not needed for them: ``login``,
    ``password`` (a token), and in the extra ``private_key`` or ``key_file``, ``known_hosts_file``. Ours are
    ``known_hosts`` and ``ca_certificate`` or ``ca_certificate_file``.

    :param environment: the environment.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self._environment = environment

    def get_conn(self) -> tuple[Access, ...]:
        """Return what opens each host.

        :raises ConfigError: if a connection is missing, or cannot be used as it is.
        """
        connections = self._environment.git.connections
        return tuple(_access(host, conn_id) for host, conn_id in connections.items())


def _access(host: str, conn_id: str) -> Access:
    named = f"connection {conn_id} for {host}"
    try:
        connection: Connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ConfigError(
            f"{named}, under git.connections, does not exist; add it under Admin, Connections"
        ) from error
    extra: dict[str, Any] = connection.extra_dejson
    _refuse(named, extra)
    private_key = _text(named, extra, "private_key", "key_file")
    for secret in (connection.password, private_key):
        if secret:
            mask_secret(secret)
    return Access(
        host=host,
        connection=conn_id,
        login=connection.login or DEFAULT_LOGIN,
        token=connection.password or None,
        private_key=private_key,
        known_hosts=_text(named, extra, "known_hosts", "known_hosts_file"),
        certificates=_text(named, extra, "ca_certificate", "ca_certificate_file"),
    )


def _refuse(named: str, extra: dict[str, Any]) -> None:
    """Refuse what would be less than asked for."""
    if str(extra.get("strict_host_key_checking", "yes")).lower() not in ("yes", "true"):
        raise ConfigError(
            f"{named}: strict_host_key_checking can only be yes, as anybody could pose as the server "
            "otherwise; put the server's keys into the extra known_hosts (ssh-keyscan prints them)"
        )
    if extra.get("private_key_passphrase"):
        raise ConfigError(
            f"{named}: a key with a passphrase cannot be used; give one without, as Airflow encrypts "
            "connections"
        )


def _text(named: str, extra: dict[str, Any], key: str, file_key: str) -> str | None:
    """Return a value that stands in the extra, or in a file on the worker that it names."""
    if extra.get(key):
        return str(extra[key])
    if not extra.get(file_key):
        return None
    try:
        return Path(extra[file_key]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{named}: {file_key} {extra[file_key]} cannot be read on this worker ({type(error).__name__}); "
            f"correct it, or put its text into {key}"
        ) from error
