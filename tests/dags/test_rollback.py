"""When the rollback runs, and what becomes of the run: real runs of the DAG, each task's work scripted."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from bakeroll.core.errors import CapacityError, RolledBackError
from bakeroll.listeners.run_note import CAUSE, ROLLBACK
from bakeroll.operators import journal, layers, rollback, rollout, terraform
from bakeroll.sensors.capacity import CapacitySensor
from bakeroll.sensors.gate import GateSensor

NAME = "rolling_deployment_development"
GROUP = (
    "rollback.begin",
    "rollback.web.restore",
    "rollback.web.drain",
    "rollback.web.verify",
    "rollback.close",
)
OPERATORS = (
    journal.BeginOperator,
    journal.ReleaseOperator,
    journal.CloseOperator,
    layers.DecideLayersOperator,
    layers.BakeLayerOperator,
    terraform.PlanOperator,
    terraform.ApplyOperator,
    rollout.FleetOperator,
    rollout.DrainOperator,
    CapacitySensor,
    GateSensor,
    rollback.RestoreOperator,
    rollback.DrainBackOperator,
    rollback.EndRollbackOperator,
)
RESULTS = {"web.wave_1.retire": [["i-old"]], "rollback.web.restore": [["i-bad"]]}
"""What the mapped drains are mapped over."""


class Script:
    """What each task comes to: an exception, or its result."""

    def __init__(self) -> None:
        self.faults: dict[str, Exception] = {}
        self.meanwhile = {}
        self.applied = True
        self.causes: list[str] = []
        self.asked: dict[str, bool] = {}

    def run(self, operator, context):
        task_id = context["ti"].task_id
        if task_id == "begin":
            self.asked = {name: context["params"][name] for name in ("replace", "abandon_rollback")}
        if fault := self.faults.get(task_id):
            raise fault
        if task_id == "layers.decide":
            context["ti"].xcom_push(key="return_value", value={})
            operator.do_branch(context, operator.otherwise)
        if task_id == "rollback.close":
            context["ti"].xcom_push(key=ROLLBACK, value="rolled back")
        if act := self.meanwhile.get(task_id):
            act(context["run_id"])
        return RESULTS.get(task_id)

    def begin_rollback(self, operator, context):
        """Decide as the journal would: by whether apply had begun."""
        if not self.applied:
            raise AirflowSkipException("nothing to roll back")
        self.causes.append(operator._cause(context))
        return {}


@pytest.fixture
def script(monkeypatch):
    made = Script()

    def work(self, context):
        return made.run(self, context)

    def begin_rollback(self, context):
        return made.begin_rollback(self, context)

    for operator in OPERATORS:
        monkeypatch.setattr(operator, "work", work)
    monkeypatch.setattr(rollback.BeginRollbackOperator, "work", begin_rollback)
    return made


@pytest.fixture(scope="module")
def stored(bag):
    """Store the DAGs as the DAG processor does, serialized."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)
    return bag.dags[NAME]


def run(dag, **conf):
    """Run the DAG; returns the run's state, and its tasks' states.

    :param conf: the run's parameters.
    """
    ended = dag.test(run_conf=conf)
    states = {ti.task_id: str(ti.state) for ti in ended.get_task_instances()}
    return str(ended.state), states


def of_group(states):
    return {states[task_id] for task_id in GROUP}


def test_a_deployment_that_goes_well_rolls_nothing_back(stored, script):
    state, states = run(stored)
    assert (state, states["close"]) == ("success", "success")
    assert of_group(states) == {"skipped"}


@pytest.mark.parametrize("task_id", ["terraform.apply", "web.wave_1.await_capacity", "web.verify", "release"])
def test_a_failure_at_apply_or_later_rolls_back_and_the_run_is_red(stored, script, task_id):
    script.faults[task_id] = CapacityError("fleet web: only 0 of 2 in service\nand more")
    state, states = run(stored)
    assert state == "failed", "although the rollback went well"
    assert states[task_id] == "failed"
    assert of_group(states) == {"success"}
    assert states["close"] == "upstream_failed"
    assert script.causes == ["fleet web: only 0 of 2 in service"]


def test_a_task_that_a_person_marks_failed_rolls_back(stored, script):
    """As a person does who wants the rollout stopped at once (docs/rollouts.md)."""
    from airflow.api.common.mark_tasks import set_state
    from airflow.utils.state import TaskInstanceState

    task_id = "web.wave_1.await_capacity"

    def mark(run_id):
        task = stored.get_task(task_id)
        altered = set_state(tasks=[task], run_id=run_id, state=TaskInstanceState.FAILED, commit=True)
        assert [one.task_id for one in altered] == [task_id]

    script.meanwhile["terraform.plan"] = mark
    state, states = run(stored)
    assert (state, states[task_id]) == ("failed", "failed")
    assert of_group(states) == {"success"}
    assert script.causes == [f"task {task_id} failed; its log says why"]


@pytest.mark.parametrize("task_id", ["begin", "layers.decide", "terraform.plan"])
def test_a_failure_before_apply_rolls_nothing_back(stored, script, task_id):
    script.faults[task_id] = CapacityError("no")
    script.applied = False
    state, states = run(stored)
    assert (state, states[task_id]) == ("failed", "failed")
    assert of_group(states) == {"skipped"}


def test_a_run_that_finds_an_unfinished_rollback_finishes_it(stored, script):
    script.faults["begin"] = CapacityError("an earlier run did not finish its rollback")
    state, states = run(stored)
    assert state == "failed"
    assert of_group(states) == {"success"}
    assert states["terraform.apply"] == "upstream_failed"


def test_a_rollback_that_fails_keeps_the_journal_open(stored, script):
    script.faults |= {"release": CapacityError("no"), "rollback.web.restore": CapacityError("nor that")}
    state, states = run(stored)
    assert state == "failed"
    assert states["rollback.close"] == "upstream_failed"


def test_a_fleet_with_nothing_to_go_back_to_is_skipped(stored, script):
    script.faults |= {"release": CapacityError("no"), "rollback.web.restore": AirflowSkipException("none")}
    state, states = run(stored)
    assert state == "failed"
    assert (states["rollback.web.drain"], states["rollback.web.verify"]) == ("skipped", "skipped")
    assert states["rollback.close"] == "success"


def test_the_effect_is_not_taken_for_the_cause(stored, script):
    """What another fleet's task says once the rollback has begun is not why it has."""
    script.faults |= {"web.wave_1.scale_out": RolledBackError("the deployment is being rolled back")}
    run(stored)
    assert script.causes == ["task web.wave_1.scale_out failed; its log says why"]


def test_whatever_can_fail_after_apply_starts_the_rollback(bag):
    """Each directly, so that it begins within a second and not when the last task has been given up."""
    for dag in bag.dags.values():
        if not dag.dag_id.startswith("rolling_deployment_"):
            continue
        waits_for = dag.get_task("rollback.begin").upstream_task_ids
        later = dag.get_task("terraform.apply").get_flat_relative_ids(upstream=False)
        forward = {one for one in later if not one.startswith("rollback.")} - {"close"}
        assert waits_for == {"begin", "terraform.apply", *forward}
        assert dag.get_task("rollback.close").downstream_task_ids == set()


@pytest.mark.parametrize("name", ["replace", "abandon_rollback"])
def test_what_a_run_is_started_with_reaches_begin(stored, script, name):
    """What `begin` does with it is in tests/operators/test_parameters.py."""
    # Both, as `dag.test` keeps what it was given in the DAG.
    asked = {"replace": False, "abandon_rollback": False, name: True}
    state, _ = run(stored, **asked)
    assert state == "success"
    assert script.asked == asked


def test_every_task_of_a_rollback_says_the_fleets_state_if_it_fails(bag):
    """Those of this module do; see tests/operators/test_rollback.py."""
    operators = {task_id: bag.dags[NAME].get_task(task_id) for task_id in GROUP}
    kinds = {task_id: getattr(one, "operator_class", type(one)) for task_id, one in operators.items()}
    assert kinds == {
        "rollback.begin": rollback.BeginRollbackOperator,
        "rollback.web.restore": rollback.RestoreOperator,
        "rollback.web.drain": rollback.DrainBackOperator,
        "rollback.web.verify": rollback.RestoreOperator,
        "rollback.close": rollback.EndRollbackOperator,
    }
    for dag in bag.dags.values():
        names = {one for one in dag.task_ids if one.startswith("rollback.")}
        for task_id in names:
            kind = getattr(dag.get_task(task_id), "operator_class", type(dag.get_task(task_id)))
            assert kind.__module__ == rollback.__name__, task_id


def test_the_key_of_a_cause_is_no_other_xcoms():
    assert len({CAUSE, ROLLBACK, "return_value", "run_note"}) == 4
