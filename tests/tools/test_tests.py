"""The two phases of `make test`: every test in one of them, and one status for both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.tests import NOTHING_CHOSEN, PHASES, verdict

ROOT = Path(__file__).resolve().parents[2]
#: A file with tests of both kinds.
MIXED = ["tests/demo", "tests/sandbox/balancer"]


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ([0, 0], 0),
        ([1, 0], 1),
        ([0, 1], 1),
        ([0, -9], -9),
        ([0, NOTHING_CHOSEN], 0),
        ([NOTHING_CHOSEN, 1], 1),
        ([NOTHING_CHOSEN, NOTHING_CHOSEN], NOTHING_CHOSEN),
    ],
)
def test_one_status_for_both_phases(statuses: list[int], whole: int) -> None:
    assert verdict(statuses) == whole


def collected(*options: str) -> list[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", *options]
    done = subprocess.run([*command, *MIXED], cwd=ROOT, capture_output=True, text=True, check=True)
    counts = [line.rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line]
    return [f"{file}#{number}" for file, count in counts for number in range(int(count))]


def test_each_test_is_in_one_phase() -> None:
    beside, alone = (
        collected(*(each for each in options if each.startswith("--phase"))) for options in PHASES.values()
    )
    assert beside
    assert alone
    assert len(beside) + len(alone) == len(collected())
