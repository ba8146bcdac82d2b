"""A version whose health check is green while its pages answer 500, from its first wave to the way back."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import GateError
from bakeroll.core.rollout.waves import AwaitCapacity, ScaleOut
from tests.core.rollout.gates.application import Page, application
from tests.core.rollout.gates.test_gate import gate, serve
from tests.core.rollout.harness import world
from tests.core.rollout.rollback.test_rollback import healthy_release, ids, is_as_before, judged, roll_back


@pytest.mark.parametrize("waves", [("100%",), ("1", "100%")])
def test_it_is_caught_and_the_version_before_serves_on(waves):
    w = world(3, maximum=8, waves=waves)
    old = ids(w)
    w.image = healthy_release(w)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    with application() as server:
        serve(w, server, Page(500, "Traceback"))
        with pytest.raises(GateError, match="answered 500, expected 200: Traceback"):
            w.run(gate(w, http={"url": server.url}))
        w.ledger.forget_deadline("web", "wave_1.gate")  # as the operator does where a step fails for good
        said = roll_back(w)
        is_as_before(w, old, size=3, maximum=8)
        assert w.lowest_ready == 3
        assert judged(w, w.image) == "rejected"
        assert "web is back at version 1" in said
