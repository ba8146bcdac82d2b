"""What people see of a run in Airflow: links from the API, a note from the scheduler."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from bakeroll.listeners.run_note import KEY
from ci import deploy

DAG_ID = "rolling_deployment_development"
RUN_ID = "manual__links"
ADDRESS = (
    "https://ap-northeast-1.console.aws.amazon.com/ec2/home?region=ap-northeast-1#ImageDetails:imageId=ami-3"
)
VERSION = "version 0123456789ab, application ami-3 (new), application_base ami-2, base ami-1"


@pytest.fixture(scope="module")
def stored(bag):
    """Store the DAGs as the DAG processor does, serialized."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)


@pytest.fixture
def run(stored):
    """Make a run, of which tasks have pushed what they show; gives a function that ends it."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.dagrun import DagRun
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag(DAG_ID, session=session)
        made = dag.create_dagrun(
            run_id=RUN_ID,
            run_after=datetime.now(UTC),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
            session=session,
        )
        session.flush()
        for key, task_id, value in (
            ("_link_ImageLink", "layers.bake_application", ADDRESS),
            ("run_note", "terraform.plan", VERSION),
        ):
            XComModel.set(
                key=key, value=value, task_id=task_id, dag_id=DAG_ID, run_id=RUN_ID, session=session
            )

    def end(state, **states):
        """End the run as the scheduler does: all tasks in a state, then the run's own follows."""
        with create_session() as session:
            dag_run = session.get(DagRun, made.id)
            dag_run.dag = DBDagBag().get_latest_version_of_dag(DAG_ID, session=session)
            for ti in dag_run.get_task_instances(session=session):
                ti.state = states.get(ti.task_id.replace(".", "_"), "success")
            session.flush()
            dag_run.state = "running"
            dag_run.update_state(session=session, execute_callbacks=False)
            assert dag_run.state == state
        with create_session() as session:
            return session.get(DagRun, made.id).note

    yield end
    with create_session() as session:
        session.delete(session.get(DagRun, made.id))


@pytest.fixture
def api(monkeypatch, airflow_database):
    """Return a client of the API server, logged in."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "test" * 16)
    purge_cached_app()
    client = TestClient(create_app(apps="core"))
    client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
    yield client
    purge_cached_app()


def links(api, task_id):
    answer = api.get(f"/api/v2/dags/{DAG_ID}/dagRuns/{RUN_ID}/taskInstances/{task_id}/links")
    assert answer.status_code == 200, answer.text
    return answer.json()["extra_links"]


def test_links_come_from_the_api(api, run):
    assert links(api, "layers.bake_application") == {"Image": ADDRESS}
    assert links(api, "begin") == {"Journal": None}
    assert (
        set(links(api, "terraform.plan"))
        == set(links(api, "terraform.apply"))
        == {"Saved plan", "Terraform state"}
    )
    assert set(links(api, "web.wave_1.await_capacity")) == {
        "Auto Scaling group",
        "Load balancer",
        "Target group",
    }
    assert set(links(api, "web.wave_1.retire")) == set(links(api, "web.verify")) == {"Auto Scaling group"}
    assert set(links(api, "release")) == {"Image", "Release"}
    assert set(links(api, "close")) == {"Journal"}


def test_a_ci_job_reads_from_the_api_that_the_image_was_rejected(api, run):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{RUN_ID}{deploy.REFUSAL}?deserialize=true"
    assert api.get(path).status_code == 404
    with create_session() as session:
        XComModel.set(
            key=KEY,
            value="image ami-3 was rejected here",
            task_id="layers.decide",
            dag_id=DAG_ID,
            run_id=RUN_ID,
            serialize=False,  # as the execution API does, which a task's push goes to
            session=session,
        )
    assert api.get(path).json()["value"] == "image ami-3 was rejected here"


def test_mapped_drains_have_links_and_names(stored):
    from airflow.models.dagbag import DBDagBag
    from airflow.utils.session import create_session

    with create_session() as session:
        for dag_id, task_id in ((DAG_ID, "web.wave_1.drain"), ("drain_terminating_development", "drain")):
            task = DBDagBag().get_latest_version_of_dag(dag_id, session=session).get_task(task_id)
            assert task.extra_links == ["Auto Scaling group", "SSM command"]
            assert task.map_index_template == "{{ task.title }}"


def test_the_scheduler_notes_version_and_outcome(run):
    assert run("success") == f"bakeroll: deployed; {VERSION}"


def test_instances_that_were_not_drained_are_noted(run):
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        for task_id, value in (("web.verify", ["i-2 (retained)", "i-1 (lost)"]), ("web.wave_1.retire", [])):
            XComModel.set(
                key="undrained", value=value, task_id=task_id, dag_id=DAG_ID, run_id=RUN_ID, session=session
            )
    assert run("success") == f"bakeroll: deployed; not drained: i-1 (lost), i-2 (retained); {VERSION}"


def test_a_failure_is_noted_with_its_task_and_later_with_the_end_it_came_to(run):
    note = run("failed", web_verify="failed", release="upstream_failed", close="upstream_failed")
    assert note == f"bakeroll: failed at web.verify; {VERSION}"
    assert run("success", release="skipped") == f"bakeroll: nothing deployed; {VERSION}"


def test_a_persons_note_stays():
    from bakeroll.listeners.run_note import merged

    theirs = "please look at this\nbakeroll: failed at begin; it came to no plan"
    assert merged(theirs, "deployed") == "please look at this\nbakeroll: deployed"
    assert len(merged("x" * 900, "y" * 900)) == 1000
    assert merged("x" * 1000, "deployed") == "x" * 1000


def test_the_plugin_is_the_only_file_that_airflow_loads():
    """`.airflowignore` keeps the package's modules from being run under their bare names."""
    plugins = Path(__file__).parents[2] / "plugins"
    assert sorted(path.name for path in plugins.glob("*.py")) == ["bakeroll_plugin.py"]
    assert (plugins / ".airflowignore").read_text() == "bakeroll/\n"
    from airflow.plugins_manager import get_import_errors, get_plugin_info

    assert get_import_errors() == {}
    assert "bakeroll" in {info["name"] for info in get_plugin_info()}
