"""What deployments called, and the IAM policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.end_to_end.running_stage import calls_without_a_policy

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Outcome


def test_every_call_is_one_that_the_policies_were_written_for(outcome: Outcome) -> None:
    assert calls_without_a_policy(outcome.runs.stage) == []
