"""Generate every secret of the Compose deployment, once: `python -m compose.make_secrets [--renew NAME]`.

Each goes into a folder of its own readers, as a file that only its reader's user may read. No secret has a
default, none is an argument or an environment variable. A second run changes nothing; one that was killed
is finished by the next.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RENEWABLE = ("admin", "api", "fernet", "jwt", "postgres", "redis")
ADMIN = "admin"


class SecretsError(Exception):
    """The secrets cannot be made; the text is one line with the next step."""


@dataclass(frozen=True)
class Settings:
    """Where the secrets go, who reads them, and where the services are that they open.

    :param folder: holds one folder for each reader.
    :param owners: reader -> user and group id.
    :param postgres: host and port of Postgres.
    :param redis: host and port of Redis.
    """

    folder: Path
    owners: Mapping[str, tuple[int, int]]
    postgres: str
    redis: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the settings.

        :param environ: environment variables.
        :raises SecretsError: if one is missing or wrong.
        """
        names = ("SECRETS_FOLDER", "POSTGRES_ADDRESS", "REDIS_ADDRESS", *(f"{each}_OWNER" for each in OWNERS))
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise SecretsError(f"not set: {', '.join(missing)}; docker-compose.yaml sets them for `init`")
        return cls(
            folder=Path(environ["SECRETS_FOLDER"]),
            owners={each: _owner(f"{each}_OWNER", environ[f"{each}_OWNER"]) for each in OWNERS},
            postgres=environ["POSTGRES_ADDRESS"],
            redis=environ["REDIS_ADDRESS"],
        )


#: Whose files they are -> the folders that only they read.
OWNERS = {"POSTGRES": ("postgres",), "REDIS": ("redis",), "AIRFLOW": ("server", "broker", "login")}


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m compose.make_secrets", description=__doc__)
    parser.add_argument("--renew", action="append", default=[], choices=RENEWABLE, metavar="NAME")
    renew = parser.parse_args(arguments).renew
    try:
        made = make(Settings.from_environment(os.environ), renew)
    except (SecretsError, OSError) as error:
        sys.stderr.write(f"secrets: {error}\n")
        return 1
    sys.stdout.write(f"secrets: {', '.join(made)} written\n" if made else "secrets: all there\n")
    return 0


def make(settings: Settings, renew: list[str] | None = None) -> list[str]:
    """Write what is missing or to be renewed, and nothing else.

    :param settings: where to, and for whom.
    :param renew: names out of :data:`RENEWABLE`.
    :return: the files that were written, as `<reader>/<name>`.
    :raises SecretsError: if an existing file is not what this program writes.
    """
    again = set(renew or ())
    owners = {folder: settings.owners[owner] for owner, folders in OWNERS.items() for folder in folders}
    written: list[str] = []

    def keep(name: str, content: str) -> None:
        file = settings.folder / name
        if _write(file, content, owners[file.parent.name]):
            written.append(name)

    for name, owner in owners.items():
        _folder(settings.folder / name, owner)
    folder = settings.folder
    postgres = _password(folder / "postgres/password", again=("postgres" in again))
    redis = _password(folder / "broker/redis_password", again=("redis" in again))
    keep("postgres/password", postgres)
    keep("broker/redis_password", redis)
    keep("redis/redis.conf", f"requirepass {redis}\n")
    keep("server/database_url", f"postgresql+psycopg://airflow:{postgres}@{settings.postgres}/airflow")
    keep("broker/broker_url", f"redis://:{redis}@{settings.redis}/0")
    keep("broker/result_backend", f"redis://:{redis}@{settings.redis}/1")
    keep("server/jwt_secret", _password(folder / "server/jwt_secret", again=("jwt" in again)))
    keep("server/api_secret_key", _password(folder / "server/api_secret_key", again=("api" in again)))
    keep("server/fernet_key", _fernet(folder / "server/fernet_key", again=("fernet" in again)))
    keep("login/passwords.json", _login(folder / "login/passwords.json", again=("admin" in again)))
    return written


def _password(file: Path, *, again: bool) -> str:
    """Give the password that is there, or a new one: 64 characters, which need no quoting in an address."""
    before = "" if again else _present(file)
    return before or secrets.token_urlsafe(48)


def _fernet(file: Path, *, again: bool) -> str:
    """Give the keys: the first encrypts, all of them decrypt, so an old one stays when there is a new one."""
    before = _present(file)
    if before and not again:
        return before
    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    return f"{key},{before}" if before else key


def _login(file: Path, *, again: bool) -> str:
    """Give the passwords of the people; only the administrator's is made here, others' are kept."""
    try:
        people = json.loads(_present(file) or "{}")
    except ValueError:
        people = None
    if not isinstance(people, dict):
        raise SecretsError(f"{file} is not a JSON object of names and passwords; remove it and start again")
    if again or not people.get(ADMIN):
        people[ADMIN] = secrets.token_urlsafe(24)
    return json.dumps(people) + "\n"


def _present(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _folder(folder: Path, owner: tuple[int, int]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    os.chown(folder, *owner)


def _write(file: Path, content: str, owner: tuple[int, int]) -> bool:
    """Put a file there whole, for its owner alone; tells whether its content is new."""
    if _present(file) == content:
        file.chmod(0o600)
        os.chown(file, *owner)
        return False
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)  # of a run that was killed
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(content)
        os.fchown(output.fileno(), *owner)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)
    return True


def _owner(name: str, value: str) -> tuple[int, int]:
    user, _, group = value.partition(":")
    if not (user.isdecimal() and group.isdecimal()):
        raise SecretsError(f"{name} is {value!r}, expected <user id>:<group id>")
    return int(user), int(group)


if __name__ == "__main__":
    sys.exit(main())
