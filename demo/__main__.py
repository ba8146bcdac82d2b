"""`python -m demo run|up|down|celery|account`: what `make` and the Compose service `sandbox` call."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from rich.console import Console

from demo import celery, stage
from demo.report import Check, show
from demo.settings import DemoError, Settings
from demo.three_runs import ThreeRuns

STARTED = time.monotonic()


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=tuple(COMMANDS))
    command = parser.parse_args().command
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings = Settings.from_environment()
        return COMMANDS[command](settings)
    except DemoError as error:
        say(f"✗ {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def run(settings: Settings) -> int:
    """Start everything, deploy three times, show the table, and stop when the person has seen enough.

    :param settings: folders and ports.
    """

    def deploy() -> list[Check]:
        runs = ThreeRuns(stage.start(settings, say), say)
        return _shown(runs, runs.run())

    return _carry(settings, deploy, stage.stop, keep="1")


def through_celery(settings: Settings) -> int:
    """Do the same with the services of docker-compose.yaml, and stop them.

    :param settings: folders and ports.
    """

    def deploy() -> list[Check]:
        started, containers = celery.start(settings, say)
        runs = ThreeRuns(started, say)
        held = runs.run()
        return _shown(runs, [*held, *celery.checks(runs, containers)])

    return _carry(settings, deploy, celery.stop, keep="0")


def account(settings: Settings) -> int:
    """Play the AWS account alone, until somebody stops it.

    :param settings: folders and ports.
    """
    try:
        stage.play_account(settings, say)  # returns when somebody else stopped it all
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stage.stop(settings, say)
        raise
    return 0


def _shown(runs: ThreeRuns, checks: list[Check]) -> list[Check]:
    show(runs.deployments, checks, Console(width=None if sys.stdout.isatty() else 160))
    return checks


def _carry(
    settings: Settings,
    deploy: Callable[[], list[Check]],
    stop: Callable[[Settings, Callable[[str], None]], None],
    keep: str,
) -> int:
    """Deploy, tell whether all held, keep it running if KEEP or its default says so, and stop everything."""
    held = False
    try:
        try:
            held = all(check.held for check in deploy())
            say("everything held" if held else "✗ not everything held")
        except DemoError as error:
            say(f"✗ {error}")
        if os.environ.get("KEEP", keep) != "0":
            say(f"Airflow: {settings.airflow_url}; AWS: {settings.endpoint_url}; Ctrl-C stops everything")
            stage.wait_until_stopped(settings)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        stop(settings, say)
    return 0 if held else 1


def up(settings: Settings) -> int:
    """Start everything and leave it running.

    :param settings: folders and ports.
    """
    try:
        stage.start(settings, say).settle()
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stage.stop(settings, say)
        raise
    say(f"running: Airflow {settings.airflow_url}, AWS {settings.endpoint_url}; `make down` stops both")
    return 0


def down(settings: Settings) -> int:
    """Stop everything, also what a killed demo left.

    :param settings: folders and ports.
    """
    celery.stop(settings, say)
    stage.stop(settings, say)
    return 0


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


COMMANDS: dict[str, Callable[[Settings], int]] = {
    "run": run,
    "up": up,
    "down": down,
    "celery": through_celery,
    "account": account,
}

if __name__ == "__main__":
    sys.exit(main())
