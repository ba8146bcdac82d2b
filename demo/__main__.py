"""`python -m demo run|up|down`: what `make demo`, `make up` and `make down` call."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from types import FrameType

from rich.console import Console

from demo import stage
from demo.report import show
from demo.settings import DemoError, Settings
from demo.three_runs import ThreeRuns

STARTED = time.monotonic()


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("run", "up", "down"))
    command = parser.parse_args().command
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        settings = Settings.from_environment()
        return {"run": run, "up": up, "down": down}[command](settings)
    except DemoError as error:
        say(f"✗ {error}")
        return 1
    except KeyboardInterrupt:
        return 130


def run(settings: Settings) -> int:
    """Start everything, deploy three times, show the table, and stop when the person has seen enough.

    :param settings: folders and ports.
    """
    held = False
    try:
        try:
            runs = ThreeRuns(stage.start(settings, say), say)
            checks = runs.run()
            console = Console(width=None if sys.stdout.isatty() else 160)
            show(runs.deployments, checks, console)
            held = all(check.held for check in checks)
            say("everything held" if held else "✗ not everything held")
        except DemoError as error:
            say(f"✗ {error}")
        if os.environ.get("KEEP", "1") != "0":
            say(f"Airflow: {settings.airflow_url}; AWS: {settings.endpoint_url}; Ctrl-C stops everything")
            stage.wait_until_stopped(settings)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        stage.stop(settings, say)
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
    stage.stop(settings, say)
    return 0


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", flush=True)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
