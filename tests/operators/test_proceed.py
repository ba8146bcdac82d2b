"""Between two waves: go on at once, or wait for a person who goes on, aborts, or does not answer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from uuid import UUID

import pytest
from airflow.api_fastapi.execution_api.datamodels.hitl import HITLDetailRequest
from airflow.sdk.exceptions import TaskDeferred

from bakeroll.core.errors import AbortedError, OwnershipLostError
from bakeroll.listeners.run_note import CAUSE
from bakeroll.operators import proceed
from bakeroll.operators.proceed import ProceedOperator
from bakeroll.triggers import answer
from bakeroll.triggers.answer import AnswerTrigger
from tests.core.rollout.harness import ledger
from tests.operators import test_steps
from tests.operators.test_steps import run_trigger

w = test_steps.w
TASK = "01990000-0000-7000-8000-000000000001"


@pytest.fixture
def asked(w, monkeypatch):
    """Give the fleet three waves, of which the first is through; returns the questions put to Airflow."""
    questions = []

    def ask(**question):
        HITLDetailRequest.model_validate(question)  # what the API demands of it
        questions.append(question)

    monkeypatch.setattr(proceed, "upsert_hitl_detail", ask)
    silent = SimpleNamespace(response_received=False, chosen_options=None)
    monkeypatch.setattr(answer, "get_hitl_detail_content_detail", lambda ti_id: silent)
    w.file.write_text(w.file.read_text().replace("web: {", 'web: {waves: [1, "100%"], '))
    w.waves = ("1", "100%")
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"waves": w.waves}))
    w.roll_wave(1)
    return questions


def context(params=None, xcoms=None, pushed=None):
    pulled = xcoms or {}
    kept = {} if pushed is None else pushed
    ti = SimpleNamespace(
        id=UUID(TASK),
        xcom_push=lambda key, value: kept.update({key: value}),
        xcom_pull=lambda task_ids, key: pulled.get((task_ids, key)),
    )
    return {"dag": SimpleNamespace(dag_id="dag"), "run_id": "run-1", "ti": ti, "params": params or {}}


def task(w):
    return ProceedOperator(task_id="proceed", environment_file=str(w.file), fleet="web", wave=1)


def deferred(operator, where):
    """Run the task until it waits; returns its trigger as Airflow makes it from its row."""
    with pytest.raises(TaskDeferred) as waiting:
        operator.execute(where)
    assert waiting.value.method_name == "resume"
    path, arguments = waiting.value.trigger.serialize()
    assert path == "bakeroll.triggers.answer.AnswerTrigger"
    return AnswerTrigger(**json.loads(json.dumps(arguments))), waiting.value.kwargs


def test_nobody_is_asked_if_nobody_asked_for_it(w, asked):
    assert task(w).execute(context()) is None
    assert asked == []


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"params": {"pause": True}}, "the run was started with `pause`"),
        ({"xcoms": {("begin", "pause"): True}}, "somebody asked for a pause while it ran"),
        ({}, "the environment file has `pause_after: [1]`"),
    ],
)
def test_a_pause_is_asked_for_by_run_meanwhile_or_by_the_file(w, asked, where, why):
    if not where:
        w.file.write_text(w.file.read_text().replace("web: {", "web: {pause_after: [1], "))
    deferred(task(w), context(**where))
    (question,) = asked
    assert question["ti_id"] == UUID(TASK)
    assert question["options"] == ["Go on", "Abort"]
    assert question["subject"] == "production: begin wave 2 of web?"
    assert question["body"] == (
        "Wave 1 of 2 of fleet web is through: 1 of 2 instances are new. "
        f"It waits because {why}. **Abort** rolls all fleets back."
    )


def answered(option):
    """Return what Airflow's API hands over."""
    return {"chosen_options": [option], "responded_by_user": {"id": "7", "name": "ada"}, "params_input": {}}


def test_go_on(w, asked):
    where = context(params={"pause": True})
    operator = task(w)
    _, kwargs = deferred(operator, where)
    assert operator.resume(where, answered("Go on"), **kwargs) == {"chosen": "Go on", "by": "ada"}
    w.roll_wave(2)
    assert not w.picture().old


def test_abort_fails_and_changes_nothing(w, asked):
    pushed = {}
    where = context(params={"pause": True}, pushed=pushed)
    operator = task(w)
    _, kwargs = deferred(operator, where)
    before = w.picture()
    with pytest.raises(AbortedError, match="fleet web: ada aborted the rollout after wave 1"):
        operator.resume_execution("resume", {"event": answered("Abort"), **kwargs}, where)
    assert w.picture() == before
    assert "ada aborted" in pushed[CAUSE], "the rollback tells it in the run's note"


def test_the_journal_stays_ours_while_a_person_thinks_and_a_day_is_the_end(w, asked):
    where = context(params={"pause": True})
    operator = task(w)
    trigger, kwargs = deferred(operator, where)
    began = w.aws.clock.now()
    w.settle(24 * 3600 - 150)
    event = run_trigger(w, trigger)
    assert event.payload == {"step": "proceed"}
    assert w.aws.clock.now() - began == pytest.approx(24 * 3600, abs=30)
    assert w.ledger.peek().lease_until > w.aws.clock.now(), "renewed to the last"
    with pytest.raises(AbortedError, match="nobody answered within 24 h after wave 1"):
        operator.resume(where, event.payload, **kwargs)


def test_a_lost_journal_ends_the_wait(w, asked):
    where = context(params={"pause": True})
    operator = task(w)
    trigger, kwargs = deferred(operator, where)
    w.settle(100)
    ledger(w.aws, "run-2").take_over(1)
    event = run_trigger(w, trigger)
    with pytest.raises(OwnershipLostError):
        operator.resume(where, event.payload, **kwargs)
    with pytest.raises(OwnershipLostError):
        operator.resume(where, answered("Go on"), **kwargs)


def test_an_answer_that_was_quicker_than_the_deferral_counts(w, asked, monkeypatch):
    where = context(params={"pause": True})
    operator = task(w)
    trigger, kwargs = deferred(operator, where)
    given = SimpleNamespace(
        response_received=True, chosen_options=["Abort"], responded_by_user=SimpleNamespace(name="ada")
    )
    monkeypatch.setattr(answer, "get_hitl_detail_content_detail", lambda ti_id: given)
    event = run_trigger(w, trigger)
    with pytest.raises(AbortedError, match="ada aborted"):
        operator.resume(where, event.payload, **kwargs)
