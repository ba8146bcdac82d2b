"""What a person asks for by parameters of a run reaches the journal and the plan."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bakeroll.core.errors import RollbackError
from bakeroll.core.layers import images
from bakeroll.core.layers.decisions import Decisions, LayerDecision
from bakeroll.core.terraform import Plan
from bakeroll.operators.journal import BeginOperator
from bakeroll.operators.terraform import PlanOperator
from tests.core.rollout.rollback.test_rollback import begin_rollback, judged, sick_release
from tests.operators import test_preflight
from tests.operators.test_steps import context

w = test_preflight.w


def with_parameters(run_id="run-1", states=None, **params):
    made = context(run_id, states)
    made["params"] = {"allow_destroy": False, "replace": False, "abandon_rollback": False, **params}
    return made


def begin(w, where):
    return BeginOperator(task_id="begin", environment_file=str(w.file)).execute(where)


def ids(w):
    return {one.instance_id for one in w.picture().instances}


def planned(w, monkeypatch):
    """Plan a deployment of the image that runs; returns the plan's result and what it skipped."""
    w.terraform.plan = lambda *_, **__: Plan("production", (), (), {}, None)
    images.mark(w.clients.ec2, w.made.image_id, "production", images.RELEASED)
    layer = LayerDecision("application", False, (), "f", w.made.image_id, "application-1")
    skipped = []
    monkeypatch.setattr(PlanOperator, "skip", lambda _self, ti, tasks: skipped.extend(tasks))
    operator = PlanOperator(
        task_id="plan",
        environment_file=str(w.file),
        decisions=Decisions((layer,), "ami-0", "0123456789abcdef0123").to_json(),
        baked=None,
    )
    monkeypatch.setattr(operator, "get_direct_relatives", lambda upstream: [SimpleNamespace(task_id="apply")])
    return operator.execute(with_parameters()), [one.task_id for one in skipped]


def test_replace_makes_a_run_of_which_nothing_changed_go_on(w, monkeypatch):
    begin(w, with_parameters(replace=True))
    assert set(w.record().replaces) == ids(w)
    result, skipped = planned(w, monkeypatch)
    assert (result["image_id"], skipped) == (w.made.image_id, [])


def test_without_replace_such_a_run_ends_at_its_plan(w, monkeypatch):
    begin(w, with_parameters())
    assert w.record().replaces is None
    result, skipped = planned(w, monkeypatch)
    assert (result, skipped) == (None, ["apply"])


@pytest.fixture
def left(w):
    """Leave a rollback that a run before did not finish."""
    w.bad = sick_release(w)
    w.run(begin_rollback(w))
    w.settle(100)
    return w


def test_a_rollback_that_was_left_is_not_given_up_by_itself(left):
    w = left
    with pytest.raises(
        RollbackError, match=r"this one finishes it .*\(abandon_rollback deploys in its place\)"
    ):
        begin(w, with_parameters("run-2", {"run-1": "failed"}))
    journal = w.ledger.peek()
    assert journal.owner == "dag/run-2"
    assert journal.rollback is not None


def test_abandon_rollback_leaves_it_and_goes_on(left, capsys):
    w = left
    begun = begin(w, with_parameters("run-2", {"run-1": "failed"}, abandon_rollback=True))
    journal = w.ledger.peek()
    assert begun == {"epoch": 2}
    assert (journal.owner, journal.rollback, journal.apply_epoch) == ("dag/run-2", None, None)
    assert judged(w, w.bad) == "rejected"
    assert journal.fleets["web"].template_before == "1", "what ran before is still known"
    assert "the rollback is given up, because a person asked for it" in capsys.readouterr().out
