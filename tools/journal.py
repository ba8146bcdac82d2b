"""Show who holds an environment's journal, what is open in it, and how to end it: `make journal ENV=name`.

AWS is reached as boto3 reaches it: profile, environment variables, role. `--sandbox` asks the sandbox of
`make up` instead.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core import config
from bakeroll.core.aws import Clients, check_account
from bakeroll.core.errors import BakerollError
from bakeroll.core.rollout.journal import Ledger, releases, report

ENVIRONMENTS = Path(__file__).resolve().parent.parent / "dags" / "environments"
RELEASES = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Show the journal, or end it."""
    parser = argparse.ArgumentParser(prog="python -m tools.journal", description=__doc__)
    parser.add_argument("environment", help="name of a file in dags/environments")
    parser.add_argument("--end", action="store_true", help="delete the journal, if that is provably harmless")
    parser.add_argument("--sandbox", action="store_true", help="of the sandbox of `make up`")
    arguments = parser.parse_args(argv)
    try:
        environment = config.load(ENVIRONMENTS / f"{arguments.environment}.yaml")
        clients = _sandbox(environment) if arguments.sandbox else _account(environment)
        check_account(clients, arguments.environment, environment.account_id)
        run = end if arguments.end else show
        return run(clients, environment, arguments.environment, time.time, _say)
    except (BakerollError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def show(
    clients: Clients,
    environment: config.Environment,
    name: str,
    now: Callable[[], float],
    say: Callable[[str], object],
) -> int:
    """Say what is in the journal, and what was released last.

    :param name: the environment's name.
    :param now: the clock, in seconds since the epoch.
    :param say: gets each line.
    """
    ledger = _ledger(clients, environment, name, now)
    journal = ledger.peek()
    place = f"s3://{environment.state_bucket}/{ledger.key}"
    if journal is None:
        say(f"{name}: no rollout is open, nobody holds {place}")
    else:
        say(f"{name}: a rollout is open in {place}")
        for line in report.lines(journal, report.standing(clients, journal), now()):
            say(line)
    last = releases.newest(clients.s3, environment.state_bucket, name, RELEASES)
    say("Releases, the newest first" if last else "Nothing was released yet")
    for line in report.release_lines(last):
        say(line)
    return 0


def end(
    clients: Clients,
    environment: config.Environment,
    name: str,
    now: Callable[[], float],
    say: Callable[[str], object],
) -> int:
    """Delete the journal.

    :param name: the environment's name.
    :param now: the clock, in seconds since the epoch.
    :param say: gets each line.
    :raises JournalError: if that is not provably harmless.
    """
    ledger = _ledger(clients, environment, name, now)
    ended = ledger.end(lambda journal: report.insist_harmless(clients, journal, now()))
    say(
        f"{name}: no rollout is open"
        if ended is None
        else f"{name}: the journal of {ended.owner} is deleted; nothing was open in it"
    )
    return 0


def _ledger(clients: Clients, environment: config.Environment, name: str, now: Callable[[], float]) -> Ledger:
    return Ledger(clients.s3, environment.state_bucket, name, "make journal", now=now)


def _account(environment: config.Environment) -> Clients:
    session = boto3.Session(region_name=environment.region)
    return Clients(lambda service: _client(session, service))


def _sandbox(environment: config.Environment) -> Clients:
    from demo.settings import OPERATOR_KEY  # noqa: PLC0415  # only where the sandbox is asked for

    session = boto3.Session(
        region_name=environment.region,
        aws_access_key_id=OPERATOR_KEY,
        aws_secret_access_key="sandbox",  # noqa: S106  # the sandbox checks no signature
    )
    port = os.environ.get("BAKEROLL_SANDBOX_PORT", "4566")
    return Clients(lambda service: _client(session, service, endpoint_url=f"http://127.0.0.1:{port}"))


def _client(session: Any, service: str, **more: str) -> Any:
    return session.client(service, **more)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
