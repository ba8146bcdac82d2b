"""The question whether a plan is applied: it is asked once, and what comes of silence is said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bakeroll.core.errors import AbortedError
from bakeroll.listeners.run_note import CAUSE
from bakeroll.operators.approval import APPROVAL_TIMEOUT, ApprovePlanOperator
from tests.operators.test_steps import context

SILENCE = {"error": "The response timeout has passed", "error_type": "timeout"}


@pytest.fixture
def approve():
    return ApprovePlanOperator(task_id="approve", environment="production")


def test_silence_ends_it_and_is_the_cause_that_the_run_notes(approve):
    assert (approve.retries, approve.response_timeout) == (0, APPROVAL_TIMEOUT)
    pushed = {}
    with pytest.raises(AbortedError):
        approve.execute_complete(context(pushed=pushed), SILENCE)
    assert pushed == {
        CAUSE: "production: nobody approved or rejected the plan within 24 h, so nothing was applied; start "
        "a new run"
    }


def test_other_errors_stay_airflows_and_are_causes_too(approve):
    pushed = {}
    with pytest.raises(Exception, match="no such option"):
        approve.execute_complete(context(pushed=pushed), {"error": "no such option", "error_type": "unknown"})
    assert "no such option" in pushed[CAUSE]


def test_an_approval_lets_the_run_go_on(approve):
    given = {
        "chosen_options": ["Approve"],
        "params_input": {},
        "responded_at": datetime(2026, 1, 1, tzinfo=UTC),
        "responded_by_user": {"id": "7", "name": "ada"},
    }
    pushed = {}
    assert approve.execute_complete(context(pushed=pushed), given)["chosen_options"] == ["Approve"]
    assert pushed == {}
