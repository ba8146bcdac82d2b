"""Run the tests of `make test`: `python -m tools.tests [pytest's own arguments]`.

Those that boot real machines or start Airflow would compete with each other for ports and for the machine:
they run one at a time. They mostly wait, so all others, which need only processor time, run meanwhile, one
process for each core, at a low priority; what these say is shown when both have ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile

PHASES = {
    "beside each other": ["--phase=beside", "--numprocesses=auto", "--dist=loadfile"],
    "one at a time": ["--phase=alone"],
}
"""Every test is in one of them; `tests/conftest.py` says in which."""
NOTHING_CHOSEN = 5
"""pytest's exit status when the arguments choose no test."""
BEHIND = 10
"""The niceness of the tests that run while others wait."""


def main() -> int:
    """Run both phases at once, each to its end, so that one run tells everything."""
    first, second = PHASES.items()
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace") as output:
        say(f"tests that run {second[0]}; meanwhile those that run {first[0]}, shown afterwards")
        beside = subprocess.Popen(
            command(first[1]), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        os.setpriority(os.PRIO_PROCESS, beside.pid, BEHIND)
        try:
            alone = subprocess.run(command(second[1]), check=False).returncode
            statuses = [beside.wait(), alone]
        finally:
            beside.terminate()  # only after an interrupt is there still something to end
            beside.wait()
        say(f"tests that run {first[0]}")
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout)
        sys.stdout.flush()
    for what, status in zip(PHASES, statuses, strict=True):
        if status not in {0, NOTHING_CHOSEN}:
            say(f"tests that run {what} failed: see above")
    return verdict(statuses)


def command(options: list[str]) -> list[str]:
    """Give the command of a phase.

    :param options: pytest's.
    """
    return [sys.executable, "-m", "pytest", *options, *sys.argv[1:]]


def say(text: str) -> None:
    """Say it before what a test process says next."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def verdict(statuses: list[int]) -> int:
    """Give the exit status of the whole.

    :param statuses: pytest's, of each phase; a phase without a chosen test is fine if another had one.
    """
    ran = [status for status in statuses if status != NOTHING_CHOSEN]
    return max(ran, key=abs) if ran else NOTHING_CHOSEN


if __name__ == "__main__":
    sys.exit(main())
