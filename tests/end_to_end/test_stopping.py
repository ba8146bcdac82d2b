"""What is left when everything is stopped. Runs last: it ends what the others look at."""

from __future__ import annotations

from pathlib import Path

from demo import services, stage
from tests.end_to_end.conftest import Outcome, listeners


def test_stopping_leaves_nothing(outcome: Outcome) -> None:
    stage.stop(outcome.settings, print)
    assert services.running(outcome.settings.build) == {}
    assert str(outcome.settings.build) not in Path("/proc/mounts").read_text()
    assert not listeners().intersection(outcome.listeners)
