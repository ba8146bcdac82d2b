"""Steps as Airflow tasks: the operator acts and defers, the trigger looks, the operator goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import TaskDeferred

from bakeroll.hooks.account import AccountHook
from bakeroll.operators.journal import BeginOperator, CloseOperator
from bakeroll.operators.rollout import DrainOperator, FleetOperator
from bakeroll.sensors.capacity import CapacitySensor
from bakeroll.sensors.gate import GateSensor
from bakeroll.triggers import step as step_trigger
from bakeroll.triggers.step import StepTrigger
from tests.core.rollout.drains.support import behave, fails
from tests.core.rollout.gates.test_gate import ALARM
from tests.core.rollout.harness import BUCKET, wired_world, world

FILE = """
region: ap-northeast-1
account_id: "123456789012"
state_bucket: %s
source_ami: {owners: ["136693071363"], name: "debian-*"}
application: {repository: "https://git.example.com/web.git"}
terraform: {root: terraform/environments/production}
fleets:
  web: {capacity_timeout: 10m, drain: {stop_units: [web.service]}}
"""


@pytest.fixture
def w(monkeypatch, tmp_path):
    """Make a fleet that serves version 1 and is to run version 2, all in virtual time."""
    return placed(world(2, maximum=2), monkeypatch, tmp_path)


@pytest.fixture
def wired(monkeypatch, tmp_path):
    """Make the same behind the wire, where there are alarms."""
    return placed(wired_world(2, maximum=2), monkeypatch, tmp_path)


def placed(made, monkeypatch, tmp_path):
    """Release version 2, and have Airflow's tasks find the account and its environment file."""
    made.release()
    monkeypatch.setattr(AccountHook, "get_conn", lambda _self: made.clients)
    monkeypatch.setattr(time, "time", made.aws.clock.now)
    folder = tmp_path / "dags" / "environments"
    folder.mkdir(parents=True)
    made.file = folder / "production.yaml"
    made.file.write_text(FILE % BUCKET)
    return made


def context(run_id="run-1", states=None, pushed=None):
    """Return the parts of Airflow's context that the operators use; what they push is put into `pushed`."""
    known = states or {}
    kept = {} if pushed is None else pushed
    ti = SimpleNamespace(
        get_dr_count=lambda dag_id, run_ids, states: int(dag_id == "dag" and known.get(run_ids[0]) in states),
        xcom_push=lambda key, value: kept.update({key: value}),
    )
    return {"dag": SimpleNamespace(dag_id="dag"), "run_id": run_id, "ti": ti, "params": {}}


def run_trigger(w, trigger):
    """Let the trigger look until it has something to say, time passing between its looks."""

    async def sleep(seconds):
        w.aws.clock.advance(max(5, seconds) if seconds else 0)

    async def first_event():
        async for event in trigger.run():
            return event
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step_trigger.asyncio, "sleep", sleep)
        return asyncio.run(first_event())


def run_task(w, operator, run_id="run-1", pushed=None):
    """Run a task as Airflow does: execute, defer, trigger, resume; what it pushes is put into `pushed`."""
    deferrals = 0
    try:
        return operator.execute(context(run_id, pushed=pushed)), deferrals
    except TaskDeferred as deferred:
        while True:
            deferrals += 1
            path, arguments = deferred.trigger.serialize()
            assert path == "bakeroll.triggers.step.StepTrigger"
            event = run_trigger(w, StepTrigger(**arguments))
            assert event.payload == {"step": operator.step}
            try:
                where = context(run_id, pushed=pushed)
                given = {"event": event.payload, **deferred.kwargs}
                return operator.resume_execution(deferred.method_name, given, where), deferrals
            except TaskDeferred as again:
                deferred = again


def fleet_task(w, kind, step=None, **kwargs):
    step = {"step": step} if step else {}
    return kind(task_id="t", environment_file=str(w.file), fleet="web", wave=1, **step, **kwargs)


def test_a_rollout_by_tasks(w):
    assert run_task(w, fleet_task(w, FleetOperator, "scale_out")) == (None, 0)
    _, waited = run_task(w, fleet_task(w, CapacitySensor))
    assert waited == 1
    chunks, _ = run_task(w, fleet_task(w, FleetOperator, "retire"))
    receipts, waited = run_task(w, fleet_task(w, DrainOperator, instance_ids=chunks[0]))
    assert waited >= 2, "for the load balancer, and for the script"
    assert {one["instance_id"] for one in receipts} == set(chunks[0])
    verified, _ = run_task(w, fleet_task(w, FleetOperator, "verify"))
    assert len(verified["instances"]) == 2
    CloseOperator(task_id="close", environment_file=str(w.file)).execute(context())
    assert w.ledger.peek() is None


def watched(w, gate):
    """Return the gate's task, of a fleet whose new instances serve."""
    w.file.write_text(
        w.file.read_text().replace("capacity_timeout: 10m", f"capacity_timeout: 10m, gate: {gate}")
    )
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    run_task(w, fleet_task(w, CapacitySensor))
    return fleet_task(w, GateSensor)


def test_a_gate_is_waited_for_in_the_triggerer(w):
    gate = watched(w, "{soak: 90s}")
    began = w.aws.clock.now()
    result, waited = run_task(w, gate)
    assert (waited, len(result["instances"])) == (1, 2)
    assert w.aws.clock.now() - began >= 90


def test_what_a_trigger_saw_fails_the_gate_although_it_is_mended_when_the_operator_looks(wired):
    w = wired
    gate = watched(w, "{soak: 90s, alarms: [errors]}")
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)

    def state(value):
        w.clients.cloudwatch.set_alarm_state(AlarmName="errors", StateValue=value, StateReason="7 errors")

    with pytest.raises(TaskDeferred) as deferred:
        gate.execute(context())
    state("ALARM")
    _, arguments = deferred.value.trigger.serialize()
    event = run_trigger(w, StepTrigger(**arguments))
    state("OK")
    with pytest.raises(Exception, match="alarm errors is in ALARM: 7 errors"):
        gate.resume(context(), event=event.payload, **deferred.value.kwargs)
    _, waited = run_task(w, gate)
    assert waited == 1, "whoever clears it has mended something, and gets a whole soak"


def test_a_gate_links_to_its_first_alarm(wired):
    w = wired
    pushed = {}
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)
    gate = watched(w, "{alarms: [errors]}")
    gate.execute(context(pushed=pushed))
    assert pushed["_link_AlarmLink"].endswith("#alarmsV2:alarm/errors")
    assert "_link_TargetGroupLink" in pushed


def test_a_trigger_wakes_the_operator_where_looking_fails(w):
    """The operator then looks at the same thing and fails with the reason in its own log."""
    w.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    w.settle()
    trigger = StepTrigger(
        environment_file=str(w.file),
        owner="dag/run-1",
        kind="await_capacity",
        arguments={"fleet": "web", "wave": 1},
    )
    assert run_trigger(w, trigger).payload == {"step": "await_capacity"}


def test_a_trigger_is_silent_until_airflow_knows_that_the_task_has_ended(w):
    """Else the resumed task is taken for one that was killed, and is retried."""
    fleet_task(w, FleetOperator, "scale_out").execute(context())
    before = w.aws.clock.now()
    with pytest.raises(TaskDeferred) as deferred:
        fleet_task(w, CapacitySensor).execute(context())
    _, arguments = deferred.value.trigger.serialize()
    assert arguments["not_before"] >= before + conf.getfloat("workers", "min_heartbeat_interval")
    arguments["not_before"] = before + 1000
    run_trigger(w, StepTrigger(**arguments))
    assert w.aws.clock.now() >= before + 1000


def test_begin_asks_airflow_whether_the_owner_lives(w, monkeypatch):
    begin = BeginOperator(task_id="begin", environment_file=str(w.file))
    monkeypatch.setattr("bakeroll.operators.journal.terraform", lambda *_: SimpleNamespace(outputs=dict))
    with pytest.raises(Exception, match="dag/run-1 holds the journal and is still running"):
        begin.execute(context("run-2", {"run-1": "running"}))
    w.settle(100)
    assert begin.execute(context("run-2", {"run-1": "failed"})) == {"epoch": 2}
    w.settle(100)
    assert begin.execute(context("run-3", {})) == {"epoch": 3}, "a run that was deleted is dead"


def test_begin_refuses_another_account(w, monkeypatch):
    w.file.write_text(w.file.read_text().replace("123456789012", "999999999999"))
    with pytest.raises(Exception, match="belong to account 123456789012"):
        BeginOperator(task_id="begin", environment_file=str(w.file)).execute(context())


def test_a_fleet_that_left_the_file_is_named(w):
    text = Path(w.file).read_text()
    w.file.write_text(text.replace("  web:", "  worker:"))
    with pytest.raises(Exception, match="fleet web is gone from the environment file"):
        fleet_task(w, FleetOperator, "retire").execute(context())


def test_a_drain_may_have_a_policy_of_its_own(w):
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    run_task(w, fleet_task(w, CapacitySensor))
    (ids,), _ = run_task(w, fleet_task(w, FleetOperator, "retire"))
    behave(w, ids[:1], **fails())
    results, _ = run_task(w, fleet_task(w, DrainOperator, instance_ids=ids, on_failure="continue"))
    assert [one["instance_id"] for one in results if one.get("lost")] == ids[:1]
    verified, _ = run_task(w, fleet_task(w, FleetOperator, "verify"))
    assert (verified["lost"], verified["retained"]) == (ids[:1], [])
