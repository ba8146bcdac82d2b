"""What the official Postgres image does before it starts the server, done here with Debian's package.

In an empty data folder it makes the database cluster, with POSTGRES_USER as its superuser, whose password is
in POSTGRES_PASSWORD_FILE, and in it the database POSTGRES_DB.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from demo.natively import Native, as_user
from demo.settings import HOST, DemoError

PROGRAMS = Path("/usr/lib/postgresql")
#: The server's own process, in single-user mode, makes the database: nothing listens meanwhile.
_MAKE_DATABASE = "CREATE DATABASE {name};\n"


def programs() -> Path:
    """Find the newest Postgres of Debian's packages.

    :raises DemoError: if there is none.
    """
    found = [each.parent for each in PROGRAMS.glob("*/bin/postgres")]
    if not found:
        raise DemoError("Postgres is not installed; as root: apt-get install postgresql")
    return max(found, key=lambda folder: float(folder.parent.name))


def make_cluster(native: Native, data: Path, base: Mapping[str, str]) -> None:
    """Make the cluster and its database.

    :param native: the service.
    :param data: its data folder, which is its user's and empty.
    :param base: the environment to run in.
    :raises DemoError: if that fails.
    """
    wanted = native.environment
    initdb = [
        str(programs() / "initdb"),
        f"--pgdata={data}",
        f"--username={wanted['POSTGRES_USER']}",
        f"--pwfile={wanted['POSTGRES_PASSWORD_FILE']}",
        "--encoding=UTF8",
        "--no-sync",
        *wanted["POSTGRES_INITDB_ARGS"].split(),
    ]
    _run(native.user, initdb, base, data, "")
    single = [str(programs() / "postgres"), "--single", "-D", str(data), "postgres"]
    _run(native.user, single, base, data, _MAKE_DATABASE.format(name=wanted["POSTGRES_DB"]))


def server(native: Native, data: Path, port: int) -> list[str]:
    """Give the server's command line: the service's own, and where to listen here.

    :param native: the service.
    :param data: its data folder.
    :param port: its port on loopback.
    """
    program, *arguments = native.command
    here = {"listen_addresses": HOST, "port": port, "unix_socket_directories": ""}
    options = [word for name, value in here.items() for word in ("-c", f"{name}={value}")]
    command = (str(programs() / program), "-D", str(data), *arguments, *options)
    return as_user(native.user, command)


def _run(user: str | None, command: Sequence[str], base: Mapping[str, str], folder: Path, text: str) -> None:
    result = subprocess.run(
        as_user(user, tuple(command)),
        cwd=folder,
        env=dict(base),
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise DemoError(f"{Path(command[0]).name} failed with status {result.returncode}:\n{result.stdout}")
