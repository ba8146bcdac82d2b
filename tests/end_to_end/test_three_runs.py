"""The demo's three deployments, with Airflow, sandbox and real machines together."""

from __future__ import annotations

from demo.settings import DAG_ID, ROOT
from tests.end_to_end.conftest import Outcome


def test_everything_the_demo_promises_holds(outcome: Outcome) -> None:
    broken = [f"{check.what}: {check.evidence}" for check in outcome.checks if not check.held]
    assert not broken, "\n".join([*broken, *outcome.said])


def test_every_environment_has_its_dag(outcome: Outcome) -> None:
    assert outcome.runs.stage.client.import_errors() == []
    files = (ROOT / "dags/environments").glob("*.yaml")
    assert {f"rolling_deployment_{file.stem}" for file in files} <= set(outcome.runs.stage.client.dag_ids())
    assert DAG_ID in outcome.runs.stage.client.dag_ids()


def test_everything_listens_on_loopback_only(outcome: Outcome) -> None:
    assert outcome.listeners
    assert [each for each in outcome.listeners if not each.startswith("127.")] == []
