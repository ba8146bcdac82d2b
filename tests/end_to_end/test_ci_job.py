"""The CI job's script against Airflow itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci import deploy
from tests.end_to_end.running_stage import deploy_from_a_ci_job

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Outcome

NOWHERE = "0" * 40
"""A commit that no repository has."""


def test_a_ci_job_deploys(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    stage = outcome.runs.stage
    assert deploy_from_a_ci_job(stage, "ci-job", NOWHERE) == deploy.FAILED
    assert capsys.readouterr().err.startswith("error: layers.")
    # The next run takes over what the failed one has left open.
    assert deploy_from_a_ci_job(stage, "ci-job") == 0
    said = capsys.readouterr().out
    assert " started: " in said
    assert "nothing had to change" in said
    # The same job started again starts no other run.
    assert deploy_from_a_ci_job(stage, "ci-job") == 0
    assert " is there already: " in capsys.readouterr().out
