"""Adds the API calls that the running sandbox has counted to ``recorded_calls.json``.

After deployments of `make up`'s Airflow: ``PYTHONPATH=. .venv/bin/python -m tests.terraform.recorded_calls``.
The file only grows: not every run needs every call. Take a line out by hand when nothing makes that call any
more.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from demo.settings import ACCESS_KEY

FILE = Path(__file__).with_suffix(".json")
TOOLS = {
    "aiobotocore": "airflow",
    "boto3": "airflow",
    "botocore": "airflow",
    "packer": "packer",
    "aws-sdk-go": "packer",  # 1.6.6 does not say its own name
    "terraform": "terraform",
}
"""Who calls, by what the caller says it is."""

Recorded = dict[str, list[str]]
"""Who calls, and the calls as ``service:Action`` with botocore's name of the service."""


def recorded() -> Recorded:
    """Read what was recorded."""
    content: Recorded = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def made_by_deployments(rows: Iterable[Mapping[str, Any]]) -> Recorded:
    """Find in the sandbox's counts what deployments called, whatever the answer was."""
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["principal"] == ACCESS_KEY:
            who = TOOLS.get(row["tool"], row["tool"])
            found.setdefault(who, set()).add(f"{row['service']}:{row['action']}")
    return {who: sorted(calls) for who, calls in sorted(found.items())}


def counted(port: int) -> list[dict[str, Any]]:
    """Ask a sandbox for its counts."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/_sandbox/calls", timeout=60) as answer:
        rows: list[dict[str, Any]] = json.load(answer)
    return rows


def add(made: Recorded) -> None:
    """Write the file with what was made besides what it has."""
    before = recorded() if FILE.exists() else {}
    both = {who: sorted({*before.get(who, ()), *made.get(who, ())}) for who in sorted({*before, *made})}
    FILE.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    add(made_by_deployments(counted(int(os.environ.get("BAKEROLL_SANDBOX_PORT", "4566")))))
    sys.stdout.write(f"{FILE}\n")
