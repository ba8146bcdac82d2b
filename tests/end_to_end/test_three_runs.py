"""The demo's three deployments, with Airflow, sandbox and real machines together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo import services, stage
from demo.report import Check
from demo.settings import DAG_ID, ROOT, DemoError, Settings
from demo.three_runs import ThreeRuns
from tools import set_up

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Outcome:
    """What the three runs left to look at; everything still runs."""

    settings: Settings
    runs: ThreeRuns
    checks: list[Check]
    dag_ids: list[str]
    import_errors: list[str]
    listeners: list[str]
    said: list[str]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listeners() -> set[str]:
    """Give every address that something on this machine listens on."""
    answer = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True)
    return {line.split()[3] for line in answer.stdout.splitlines()}


def mounts() -> str:
    return Path("/proc/mounts").read_text()


def require_everything() -> None:
    missing = "; ".join(str(each) for each in set_up.judge("demo")[0])
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing is skipped: {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    require_everything()
    settings = Settings(tmp_path_factory.mktemp("demo") / "build", free_port(), free_port())
    before = listeners()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        sys.stdout.write(f"{text}\n")

    try:
        runs = ThreeRuns(stage.start(settings, say), say)
        try:
            checks = runs.run()
        except DemoError as error:
            checks = [Check("the three runs come to their end", held=False, evidence=str(error))]
        client = runs.stage.client
        found = sorted(listeners() - before)
        yield Outcome(settings, runs, checks, client.dag_ids(), client.import_errors(), found, said)
    finally:
        stage.stop(settings, print)


def test_everything_the_demo_promises_holds(outcome: Outcome) -> None:
    broken = [f"{check.what}: {check.evidence}" for check in outcome.checks if not check.held]
    assert not broken, "\n".join([*broken, *outcome.said])


def test_every_environment_has_its_dag(outcome: Outcome) -> None:
    assert outcome.import_errors == []
    files = (ROOT / "dags/environments").glob("*.yaml")
    assert {f"rolling_deployment_{file.stem}" for file in files} <= set(outcome.dag_ids)
    assert DAG_ID in outcome.dag_ids


def test_everything_listens_on_loopback_only(outcome: Outcome) -> None:
    assert outcome.listeners
    assert [each for each in outcome.listeners if not each.startswith("127.")] == []


def test_no_log_shows_a_secret(outcome: Outcome) -> None:
    """The Ansible Vault password opens the repository's secrets; it must be in no log."""
    from demo.settings import VAULT_PASSWORD

    logs = [*outcome.settings.airflow_home.rglob("*.log"), *outcome.settings.logs.glob("*.log")]
    assert logs
    assert [file for file in logs if VAULT_PASSWORD in file.read_text(errors="replace")] == []


def test_stopping_leaves_nothing(outcome: Outcome) -> None:
    """Runs last: it ends what the tests above look at."""
    stage.stop(outcome.settings, print)
    assert services.running(outcome.settings.build) == {}
    assert str(outcome.settings.build) not in mounts()
    assert not listeners().intersection(outcome.listeners)
