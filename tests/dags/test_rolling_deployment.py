"""The DAGs as Airflow loads them: how many, how wired, and what a broken environment does to the others."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ci import deploy

DAGS = Path(__file__).parents[2] / "dags"
NAMES = ["rolling_deployment_development", "rolling_deployment_production", "rolling_deployment_staging"]


def test_three_environments_three_dags_no_errors(bag):
    assert bag.import_errors == {}
    assert sorted(name for name in bag.dags if name.startswith("rolling_")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_policies(bag, name):
    dag = bag.dags[name]
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert "bakeroll" in dag.tags
    assert "Triage" in dag.doc_md
    assert sorted(dag.params) == [
        "abandon_rollback",
        "allow_destroy",
        "ami_id",
        "application_ref",
        "deploy_rejected",
        "pause",
        "rebuild",
        "replace",
    ]
    for task in dag.tasks:
        assert task.owner == "bakeroll"
        if task.task_id != "terraform.approve":
            assert task.retries == 2
            assert task.retry_policy is not None


def test_the_way_of_a_deployment(bag):
    dag = bag.dags["rolling_deployment_development"]
    assert sorted(dag.task_ids) == sorted(
        [
            "begin",
            "layers.decide",
            "layers.bake_base",
            "layers.bake_application_base",
            "layers.bake_application",
            "terraform.plan",
            "terraform.apply",
            "web.wave_1.scale_out",
            "web.wave_1.await_capacity",
            "web.wave_1.retire",
            "web.wave_1.drain",
            "web.verify",
            "release",
            "rollback.begin",
            "rollback.web.restore",
            "rollback.web.drain",
            "rollback.web.verify",
            "rollback.close",
            "close",
        ]
    )

    def after(task_id):
        return sorted(dag.get_task(task_id).downstream_task_ids - {"rollback.begin"})

    assert after("begin") == ["layers.decide"]
    assert {"layers.bake_base", "layers.bake_application_base", "layers.bake_application"} < set(
        after("layers.decide")
    )
    assert after("terraform.plan") == ["terraform.apply"], "what plan skips must not be close"
    assert after("terraform.apply") == ["web.wave_1.scale_out"]
    assert after("web.wave_1.scale_out") == ["web.wave_1.await_capacity"]
    assert after("web.wave_1.await_capacity") == ["web.wave_1.retire"]
    assert after("web.wave_1.retire") == ["web.verify", "web.wave_1.drain"]
    assert after("web.verify") == ["release"]
    assert after("release") == ["close"]


def test_only_production_asks_a_person(bag):
    asking = [name for name in NAMES if "terraform.approve" in bag.dags[name].task_ids]
    assert asking == ["rolling_deployment_production"]
    approve = bag.dags[asking[0]].get_task("terraform.approve")
    assert approve.response_timeout == timedelta(hours=24)
    assert approve.retries == 0, "asked again, it would wait beyond the journal's `waits_until`"
    assert approve.task_id == deploy.APPROVAL, "whose answer a CI job looks for"
    assert approve.downstream_task_ids == {"terraform.apply"}


def test_a_broken_environment_takes_down_only_itself(load, tmp_path):
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    broken = folder / "environments" / "staging.yaml"
    broken.write_text(broken.read_text().replace("timeout: 5m", "timeout: soon"))
    bag = load(folder)
    assert sorted(name for name in bag.dags if name.startswith("rolling_")) == [
        name for name in NAMES if not name.endswith("staging")
    ]
    assert list(bag.import_errors) == ["check_environments.py"]
    (error,) = bag.import_errors.values()
    assert error.strip().splitlines()[-1] == (
        "bakeroll.core.errors.ConfigError: dags/environments/staging.yaml: fleets.web.drain.timeout: "
        "found 'soon'; expected a whole number and a unit, such as 30s, 15m or 2h"
    )


def test_a_gate_stands_between_new_instances_and_the_end_of_old_ones(load, tmp_path):
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "environments" / "staging.yaml"
    path.write_text(path.read_text().replace("    drain:", "    gate: {soak: 1m}\n    drain:"))
    dag = load(folder).dags["rolling_deployment_staging"]
    gate = dag.get_task("web.wave_1.gate")
    assert gate.upstream_task_ids == {"web.wave_1.await_capacity"}
    assert gate.downstream_task_ids - {"rollback.begin"} == {"web.wave_1.retire"}
    assert dag.get_task("web.wave_1.retire").upstream_task_ids == {"web.wave_1.gate"}


def test_two_fleets_roll_side_by_side(load, tmp_path):
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "environments" / "staging.yaml"
    path.write_text(path.read_text() + "  worker: {}\n")
    dag = load(folder).dags["rolling_deployment_staging"]
    assert dag.get_task("terraform.apply").downstream_task_ids - {"rollback.begin"} == {
        "web.wave_1.scale_out",
        "worker.wave_1.scale_out",
    }
    assert dag.get_task("release").upstream_task_ids == {"web.verify", "worker.verify"}


def with_fleets(load, folder, text):
    """Load the staging environment with other fleets."""
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "environments" / "staging.yaml"
    path.write_text(path.read_text().partition("fleets:")[0] + "fleets:\n" + text)
    bag = load(folder)
    assert bag.import_errors == {}
    return bag.dags["rolling_deployment_staging"]


def test_each_wave_is_a_group_of_its_own(load, tmp_path):
    dag = with_fleets(load, tmp_path / "dags", '  web: {waves: [1, "25%", "100%"]}\n')
    groups = dag.task_group.get_child_by_label("web").children
    assert [name for name in groups if "wave" in name] == ["web.wave_1", "web.wave_2", "web.wave_3"]
    tasks = {
        name.partition("web.")[2]: dag.get_task(name) for name in dag.task_ids if name.startswith("web.")
    }
    for number, following in ((1, "wave_1.proceed"), (2, "wave_2.proceed"), (3, "verify")):
        assert tasks[f"wave_{number}.retire"].downstream_task_ids - {"rollback.begin"} == {
            f"web.wave_{number}.drain",
            f"web.{following}",
        }
        assert tasks[f"wave_{number}.drain"].downstream_task_ids - {"rollback.begin"} == {f"web.{following}"}
        assert tasks[following].trigger_rule == "none_failed_min_one_success", "no drain is no failure"
        assert tasks[f"wave_{number}.scale_out"].trigger_rule == "all_success"
        for step in ("scale_out", "await_capacity", "retire"):
            assert tasks[f"wave_{number}.{step}"].wave == number
        assert tasks[f"wave_{number}.drain"].partial_kwargs["wave"] == number
    assert tasks["wave_1.proceed"].downstream_task_ids - {"rollback.begin"} == {"web.wave_2.scale_out"}
    assert tasks["wave_2.proceed"].downstream_task_ids - {"rollback.begin"} == {"web.wave_3.scale_out"}
    assert "wave_3.proceed" not in tasks
