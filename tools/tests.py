"""Run the tests of `make test`: `python -m tools.tests [pytest's own arguments]`.

Most tests need only processor time and run beside each other, one process for each core. Those that boot
real machines or start Airflow would compete with them for it and with each other for ports: they run
afterwards, one at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys

PHASES = {
    "beside each other": ["--phase=beside", "--numprocesses=auto", "--dist=loadfile"],
    "one at a time": ["--phase=alone"],
}
"""Every test is in one of them; `tests/conftest.py` says in which."""
NOTHING_CHOSEN = 5
"""pytest's exit status when the arguments choose no test."""


def main() -> int:
    """Run both phases, also the second if the first failed, so that one run tells everything."""
    statuses = []
    for what, options in PHASES.items():
        sys.stdout.write(f"tests that run {what}\n")
        sys.stdout.flush()
        command = [sys.executable, "-m", "pytest", *options, *sys.argv[1:]]
        statuses.append(subprocess.run(command, env=dict(os.environ), check=False).returncode)
    return verdict(statuses)


def verdict(statuses: list[int]) -> int:
    """Give the exit status of the whole.

    :param statuses: pytest's, of each phase; a phase without a chosen test is fine if another had one.
    """
    ran = [status for status in statuses if status != NOTHING_CHOSEN]
    return max(ran, key=abs) if ran else NOTHING_CHOSEN


if __name__ == "__main__":
    sys.exit(main())
