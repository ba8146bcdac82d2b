"""The table of drain faults: each row has a test, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = (
    "tests/core/rollout/drains/test_drain.py",
    "tests/core/rollout/drains/test_drain_outcomes.py",
    "tests/core/rollout/drains/test_terminations.py",
    "tests/core/rollout/test_held.py",
    "tests/terraform/test_drain_script.py",
)


def rows() -> list[str]:
    page = (ROOT / "docs" / "drains.md").read_text(encoding="utf-8")
    table = page.partition("| fault | outcome | what a person sees | test |\n")[2].partition("\n\n")[0]
    return table.splitlines()[1:]


def test_each_fault_has_a_test_that_exists() -> None:
    source = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in FILES)
    there = set(re.findall(r"^def (test_\w+)", source, re.MULTILINE))
    assert len(rows()) > 15
    for row in rows():
        named = re.findall(r"`(test_[^`]*)`", row.rpartition(" | ")[2])
        assert named, row
        assert set(named) <= there, row
