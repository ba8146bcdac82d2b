"""Run a container's command without a container: the same words, with its addresses and folders put in place.

Nothing is left to chance: if a word of the containers' world is left over, that is an error.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.compose_file import Service
from demo.settings import HOST, ROOT, DemoError

#: What an image holds, not a volume.
WORKING_FOLDER = "/opt/bakeroll"
AIRFLOW_HOME = "/opt/airflow"
#: Holds a volume for each reader of secrets.
SECRETS = "/run/bakeroll"
#: Services that must not run as root -> the user that their Debian package makes.
USERS = {"postgres": "postgres", "redis": "redis"}
#: Airflow runs as whoever started us, since that one reads its secrets.
OWNERS = {"POSTGRES_OWNER": "postgres", "REDIS_OWNER": "redis", "AIRFLOW_OWNER": None}
_CONTAINERS = re.compile(
    r"/opt/|/home/airflow|/run/bakeroll|/var/(?:lib|cache)/(?:bakeroll|postgresql)|(?:^|[\s=])/data"
    r"|0\.0\.0\.0|\b(?:postgres|redis|api-server|sandbox):\d"
)


@dataclass(frozen=True)
class Native:
    """A service as it runs on this machine.

    :param user: the user to run as; None: our own.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health: tuple[str, ...]
    user: str | None


@dataclass(frozen=True)
class Machine:
    """Where things are here.

    :param volumes: volume -> folder, besides those of secrets.
    :param secrets: holds the secrets, in a folder for each reader.
    :param airflow_home: what `/opt/airflow` of the image is here.
    :param ports: port in the containers -> port here.
    """

    volumes: Mapping[str, Path]
    secrets: Path
    airflow_home: Path
    ports: Mapping[int, int]

    def translate(self, service: Service) -> Native:
        """Put this machine's addresses and folders into a service.

        :param service: from the Compose file.
        :raises DemoError: if something of the containers' world is left over.
        """
        words = self._words(service)
        environment = {key: words(value) for key, value in service.environment.items()}
        for name in OWNERS.keys() & environment.keys():
            environment[name] = owner(OWNERS[name])
        native = Native(
            service.name,
            tuple(words(each) for each in service.command),
            environment,
            tuple(words(each) for each in service.health),
            USERS.get(service.name),
        )
        for text in (*native.command, *native.health, *environment.values()):
            if _CONTAINERS.search(self._without_ours(text)):
                raise DemoError(
                    f"docker-compose.yaml, {service.name}: {text!r} has no meaning outside a container"
                )
        return native

    def _words(self, service: Service) -> _Words:
        folders = {WORKING_FOLDER: ROOT, AIRFLOW_HOME: self.airflow_home, SECRETS: self.secrets}
        for target, source in service.mounts.items():
            if not target.startswith(f"{SECRETS}/"):
                folders[target] = ROOT / source if source.startswith("./") else self.volumes[source]
        return _Words(folders, self.ports)

    def _without_ours(self, text: str) -> str:
        """Take this machine's folders out: they may look like a container's."""
        for folder in (*self.volumes.values(), self.secrets, self.airflow_home, ROOT):
            text = text.replace(str(folder), "")
        return text


class _Words:
    """Replaces in one pass, so that nothing that was put in is replaced again."""

    def __init__(self, folders: Mapping[str, Path], ports: Mapping[int, int]) -> None:
        self._folders = {name: str(folder) for name, folder in folders.items()}
        self._ports = {str(port): str(here) for port, here in ports.items()}
        names = sorted(self._folders, key=len, reverse=True)
        self._pattern = re.compile(
            rf"(?<![\w/.])(?P<folder>{'|'.join(map(re.escape, names))})(?![\w-])"
            rf"|(?P<host>\b(?:postgres|redis|api-server)(?=:\d)|0\.0\.0\.0)"
            rf"|(?<![\w.])(?P<port>{'|'.join(self._ports)})(?![\w.])"
        )

    def __call__(self, text: str) -> str:
        return self._pattern.sub(self._here, text)

    def _here(self, found: re.Match[str]) -> str:
        if found["folder"]:
            return self._folders[found["folder"]]
        return HOST if found["host"] else self._ports[found["port"]]


def owner(user: str | None) -> str:
    """Give `user id:group id` of a user, or of ourselves.

    :param user: its name, or None.
    :raises DemoError: if there is no such user.
    """
    if user is None:
        return f"{os.geteuid()}:{os.getegid()}"
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise DemoError(f"there is no user {user}: its Debian package is not installed") from None
    return f"{found.pw_uid}:{found.pw_gid}"


def as_user(user: str | None, command: tuple[str, ...]) -> list[str]:
    """Give the command line that runs as a user.

    :param user: its name; None: our own.
    :param command: the program and its arguments.
    """
    if user is None:
        return list(command)
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--no-new-privs", *command]
