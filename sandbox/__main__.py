"""``python -m sandbox serve | up | down | status | calls | fault``: an AWS account on this machine.

``serve`` runs in the foreground, ``up`` in the background until ``down``. Settings are environment
variables: see :class:`sandbox.settings.Settings`.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import time
from pathlib import Path

from sandbox import state
from sandbox.client import Client, ClientError
from sandbox.faults import command
from sandbox.machines.errors import MachineError
from sandbox.settings import Settings

REPOSITORY = Path(__file__).resolve().parent.parent

START_SECONDS = 900.0
"""The first start makes the root filesystem: a minute with a near mirror, many with a far one."""


class UsageError(Exception):
    """The command cannot do its work; the text is one line."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment(state_dir=options.state_dir)
        if options.command == "calls":
            calls(settings, as_json=options.json)
        elif options.command == "fault":
            for line in command.run(_client(settings), options):
                print(line)
        else:
            _COMMANDS[options.command](settings)
    except (UsageError, ClientError, ValueError, MachineError, state.StateError) as error:
        say(f"error: {error}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--state-dir", type=Path, help="state folder, instead of BAKEROLL_SANDBOX_STATE's")
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, what in (
        ("serve", "run in the foreground"),
        ("up", "start in the background"),
        ("down", "stop, or remove what a killed server left"),
        ("status", "instances and load balancers, as JSON"),
        ("calls", "how often who called which action"),
        ("fault", "set, list and clear what goes wrong"),
    ):
        made = commands.add_parser(name, parents=[] if name == "fault" else [common], help=what)
        if name == "calls":
            made.add_argument("--json", action="store_true", help="to be kept and compared")
        elif name == "fault":
            command.add_to(made, common)
    return parser


def say(line: str) -> None:
    """Print one step."""
    print(f"sandbox: {line}", flush=True)


def serve(settings: Settings) -> None:
    """Run the server in the foreground."""
    _require_programs()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    from sandbox import server  # noqa: PLC0415  # moto takes a second to import, which the other commands save
    from sandbox.wire.http import PortTakenError  # noqa: PLC0415  # the same

    try:
        server.serve(settings, say)
    except PortTakenError as error:
        raise UsageError(str(error)) from error


def up(settings: Settings) -> None:
    """Start the server in the background and wait until it answers."""
    _require_programs()
    state.require_unused(settings.state_dir)
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    path = settings.state_dir / state.LOG
    with path.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "serve", "--state-dir", str(settings.state_dir)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    with path.open(encoding="utf-8", errors="replace") as lines:
        while time.monotonic() < deadline:
            line = lines.readline()
            if line.startswith("sandbox: error: "):
                process.wait()
                raise UsageError(line.removeprefix("sandbox: error: ").strip())
            if line.startswith("sandbox: "):
                print(line, end="", flush=True)
                if line.startswith("sandbox: ready"):
                    return
            elif not line and process.poll() is not None:
                message = f"the server ended with status {process.returncode}; see {path}"
                raise UsageError(message)
            elif not line:
                time.sleep(0.05)
    process.terminate()
    message = f"the server was not ready after {START_SECONDS:.0f} seconds; see {path}"
    raise UsageError(message)


def down(settings: Settings) -> None:
    """Stop the server, or remove what a killed one left."""
    state.remove(settings.state_dir, say)


def status(settings: Settings) -> None:
    """Print what there is in the account."""
    server = state.read(settings.state_dir)
    if server is None:
        message = "no sandbox is there; `make up` starts one"
        raise UsageError(message)
    if not server.alive:
        state.require_unused(settings.state_dir)
    print(json.dumps(Client(server.port).get("status"), indent=1))


def calls(settings: Settings, *, as_json: bool) -> None:
    """Print the counts of API calls."""
    rows = _client(settings).get("calls")
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print("{calls:6} {status} {service}:{action} {principal} {tool}".format(**row))


def _client(settings: Settings) -> Client:
    server = state.read(settings.state_dir)
    if server is None or not server.alive:
        message = "no sandbox runs; `make up` starts one"
        raise UsageError(message)
    return Client(server.port)


def _require_programs() -> None:
    packages = {"haproxy": "haproxy", "debootstrap": "debootstrap", "ssh-keygen": "openssh-client"}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        names = " ".join(missing)
        message = f"not installed: {names}; run: apt-get install {names}"
        raise UsageError(message)


_COMMANDS = {"serve": serve, "up": up, "down": down, "status": status}

if __name__ == "__main__":
    sys.exit(main())
