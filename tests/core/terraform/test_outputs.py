from __future__ import annotations

from typing import Any

import pytest

from bakeroll.core.errors import PlanError
from bakeroll.core.terraform import FleetOutput, fleets

FLEET = {
    "autoscaling_group": "test-web",
    "launch_template_id": "lt-1",
    "termination_hook": "test-drain",
    "drain_document": "test-drain",
}


def test_reads_the_fleets() -> None:
    assert fleets("test", {"fleets": {"web": {**FLEET, "more": 1}}, "url": "http://x/"}) == {
        "web": FleetOutput(
            autoscaling_group="test-web",
            launch_template_id="lt-1",
            termination_hook="test-drain",
            drain_document="test-drain",
        )
    }


@pytest.mark.parametrize("outputs", [{}, {"fleets": []}, {"fleets": {"web": {"autoscaling_group": "x"}}}])
def test_says_what_the_output_must_be(outputs: dict[str, Any]) -> None:
    with pytest.raises(
        PlanError, match="output `fleets` must map each fleet to autoscaling_group, launch_template_id"
    ):
        fleets("test", outputs)
