"""Instances that terminate outside deployments lose no log line, with Airflow and real machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from demo.settings import DRAIN_DAG_ID, environment
from tests.end_to_end.conftest import Outcome
from tests.end_to_end.outside_drains import Outside, OutsideDrains, start_run


@dataclass(frozen=True)
class Seen:
    """What both scenarios left to look at."""

    terminated: Outside
    told: list[dict[str, Any]]
    scaled_in: Outside


@pytest.fixture(scope="module")
def seen(outcome: Outcome) -> Seen:
    stage = outcome.runs.stage
    drains = OutsideDrains(stage, environment(outcome.settings.checkout).state_bucket, outcome.said.append)
    with drains.subscribed() as told:
        terminated = drains.terminate_one()
        events = told()
    return Seen(terminated, events, drains.scale_in_unheard(2, start_run(stage)))


def assert_every_line(found: Outside) -> None:
    """Compare lines written and collected; a line without an answer is of a request that failed."""
    lines = found.lines
    assert lines.written > 0
    assert (lines.lost, lines.doubled) == ((), ()), lines
    assert len(lines.unknown) <= len(found.failures), lines


def test_an_instance_that_somebody_terminates_is_drained_at_once(seen: Seen) -> None:
    """The measured seconds are in the report: here only that the message woke the drain, whatever it took."""
    (one,) = seen.terminated.drained
    assert one.record["receipt"]["bytes_after"] == one.record["receipt"]["unread_bytes"] == 0
    dag_id, _, run_id = one.record["run"].partition("/")
    assert dag_id == DRAIN_DAG_ID
    assert run_id.startswith("asset_triggered__") or one.seconds < 300, "the schedule may have been quicker"


def test_every_line_it_wrote_is_collected(seen: Seen) -> None:
    assert_every_line(seen.terminated)


def test_people_hear_of_it_from_the_topic(seen: Seen) -> None:
    (one,) = seen.terminated.drained
    assert [event["detail"]["EC2InstanceId"] for event in seen.told] == [one.instance_id]
    assert seen.told[0]["detail-type"] == "EC2 Instance-terminate Lifecycle Action"


def test_a_scale_in_whose_messages_are_lost_is_drained_by_the_next_run(seen: Seen) -> None:
    """The next run by schedule is five minutes away at most (tests/dags); here one is started by hand."""
    assert len(seen.scaled_in.drained) == 2
    for one in seen.scaled_in.drained:
        assert one.record["receipt"]["bytes_after"] == 0
        assert not one.record["run"].partition("/")[2].startswith("asset_triggered__")


def test_every_line_that_they_wrote_is_collected(seen: Seen) -> None:
    assert_every_line(seen.scaled_in)


def test_no_run_of_the_drains_failed(outcome: Outcome, seen: Seen) -> None:
    """Also while the deployments of this stage retired instances of their own."""
    states = outcome.runs.stage.client.run_states(DRAIN_DAG_ID)
    assert states
    assert "failed" not in states.values(), states
