"""The DAGs of drains outside deployments as Airflow loads them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

DAGS = Path(__file__).parents[2] / "dags"
ENVIRONMENTS = ("development", "production", "staging")
NAMES = [f"drain_terminating_{environment}" for environment in ENVIRONMENTS]


def watchers(dag):
    """Return the watchers of the assets that a DAG waits for."""
    return [watcher for asset in dag.timetable.asset_condition.objects for watcher in asset.watchers]


def test_every_environment_has_one(bag):
    assert bag.import_errors == {}
    assert sorted(name for name in bag.dags if name.startswith("drain_")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_policies(bag, name):
    dag = bag.dags[name]
    assert dag.max_active_runs > 1, "a stuck drain must not hold up later ones"
    assert not dag.catchup
    assert {"bakeroll", name.removeprefix("drain_terminating_")} == set(dag.tags)
    assert "Triage" in dag.doc_md
    for task in dag.tasks:
        assert task.owner == "bakeroll"
        assert task.retries == 2
        assert task.retry_policy is not None


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_it_is_woken_by_its_queue_and_every_five_minutes(bag, environment):
    from bakeroll.core.config import load
    from bakeroll.core.rollout.preflight.fleet_check import DRAIN_SCHEDULE

    dag = bag.dags[f"drain_terminating_{environment}"]
    facts = load(DAGS / "environments" / f"{environment}.yaml")
    (watcher,) = watchers(dag)
    assert watcher.trigger.serialize() == (
        "bakeroll.triggers.terminations.TerminationsTrigger",
        {
            "queue_name": f"{environment}-terminations",
            "account_id": facts.account_id,
            "region": facts.region,
            "aws_conn_id": facts.aws_conn_id,
        },
    )
    clock = dag.timetable.timetable
    assert (clock.expression, str(clock.timezone)) == ("*/5 * * * *", "UTC")
    assert DRAIN_SCHEDULE.total_seconds() == 300, "what hooks are held to before a rollout"


def test_what_waits_is_drained_in_chunks_that_have_names(bag):
    dag = bag.dags["drain_terminating_development"]
    assert sorted(dag.task_ids) == ["drain", "find"]
    assert dag.get_task("find").downstream_task_ids == {"drain"}
    drain = dag.get_task("drain")
    assert drain.is_mapped
    assert drain.map_index_template == "{{ task.title }}"


def test_a_broken_environment_takes_down_only_itself(load, tmp_path):
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "environments" / "staging.yaml").write_text("region: nowhere\n")
    bag = load(folder)
    assert sorted(name for name in bag.dags if name.startswith("drain_")) == NAMES[:2]
    assert list(bag.import_errors) == ["check_environments.py"]


def test_the_five_minutes_of_its_schedule(bag):
    """A scheduled run is never more than five minutes away, so no lost message costs more."""
    import pendulum
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    timetable = coerce_to_core_timetable(bag.dags["drain_terminating_development"].timetable)
    began = pendulum.datetime(2026, 1, 1, 0, 2)
    info, times = None, []
    for _ in range(4):
        info = timetable.next_dagrun_info(
            last_automated_data_interval=info.data_interval if info else None,
            restriction=TimeRestriction(earliest=began, latest=None, catchup=True),
        )
        times.append(info.run_after)
    pauses = [(later - sooner).total_seconds() for sooner, later in pairwise([began, *times])]
    assert pauses == [180, 300, 300, 300]
