"""Replacing instances of which nothing changed: all that were there, in waves, once."""

from __future__ import annotations

import pytest

from bakeroll.core.rollout import begin
from bakeroll.core.rollout.begin import Begin, close
from tests.core.rollout.harness import ledger, world
from tests.core.rollout.test_resume import CutOffError, cut_after
from tests.core.rollout.waves.test_waves import fleet, outputs

WAVES = ("1", "100%")


def asked(w, owner=None, *, replace=True):
    """Begin a run that asks for replacement."""
    begin.record_fleets(w.clients, owner or w.ledger, outputs(w), fleet(1, "100%"), replace=replace)


def test_every_instance_that_was_there_is_replaced_wave_by_wave_and_drained():
    w = world(3, maximum=3, waves=WAVES)
    old = {one.instance_id for one in w.picture().instances}
    asked(w)
    assert begin.unsettled(w.clients, w.ledger.read()) == ["web: 3 of 3 instances are not current"]
    first = {one["instance_id"] for one in w.roll_wave(1)}
    assert len(first) == 1
    ended = w.roll()
    assert first | {one["instance_id"] for one in ended["drained"]} == old
    after = w.picture()
    assert not old & {one.instance_id for one in after.instances}
    assert (after.minimum, after.maximum, after.desired) == (3, 3, 3)
    assert begin.unsettled(w.clients, w.ledger.read()) == []
    assert w.lowest_ready == 3


@pytest.mark.parametrize("acts", [1, 4, 8, 12, 17])
def test_a_retry_and_a_new_run_keep_to_those_that_were_there_at_first(acts):
    w = world(2, maximum=2, waves=WAVES)
    old = {one.instance_id for one in w.picture().instances}
    asked(w)
    cut_after(w, acts)
    with pytest.raises(CutOffError):
        w.roll()
    w.on_pass = None
    asked(w)  # the same run begins once more
    assert set(w.record().replaces) == old
    w.settle(100)
    heir = ledger(w.aws, "run-2")
    w.run(Begin(heir, "production", alive=lambda _owner: False))
    asked(w, heir, replace=False)  # a scheduled run asks for nothing, and ends what was begun
    w.roll(heir)
    after = w.picture()
    assert len(after.counted) == 2
    assert not old & {one.instance_id for one in after.instances}
    assert len(w.record().retired) == 2, "what was launched meanwhile stays"
    close(heir)


def test_what_is_launched_meanwhile_is_not_replaced():
    w = world(2, maximum=6, waves=WAVES)
    asked(w)
    w.roll_wave(1)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=4)
    w.settle()
    w.roll()
    assert len(w.record().retired) == 2
    assert w.picture().desired == 4
