"""Several waves: how far capacity rises, how many leave in each, and what the journal says of them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from bakeroll.core import config
from bakeroll.core.errors import FleetError
from bakeroll.core.rollout import begin
from bakeroll.core.rollout.waves import ScaleOut
from bakeroll.core.terraform import FleetOutput
from tests.core.rollout.harness import world

SIZES = [1, 2, 3, 4, 7, 20]
SHARES = [("1", "25%", "100%"), ("1", "50%", "100%")]


def share(size, text):
    """Return a wave's share by hand."""
    return min(size, int(text) if text.isdigit() else math.ceil(size * int(text[:-1]) / 100))


@pytest.mark.parametrize("waves", SHARES, ids=" ".join)
@pytest.mark.parametrize("size", SIZES)
def test_old_instances_leave_wave_by_wave_and_capacity_follows_the_largest_step(size, waves):
    w = world(size, maximum=size, waves=waves)
    old = {one.instance_id for one in w.picture().instances}
    peaks = []
    w.on_pass = lambda w: peaks.append(w.aws.account.groups.get("web").desired)
    w.release()
    drained, through = set(), 0
    for wave, text in enumerate(waves, start=1):
        receipts = {one["instance_id"] for one in w.roll_wave(wave)}
        assert not receipts & drained, "no wave drains again what an earlier one saw gone"
        drained |= receipts
        through, before = max(through, share(size, text)), through
        assert len(receipts) == through - before
        picture = w.picture()
        assert (len(picture.current), len(picture.old)) == (through, size - through)
        assert w.record().exposure[str(wave)].current == through
        assert (picture.desired, picture.minimum) == (size, size)
    shares = [0, *(share(size, text) for text in waves)]
    assert max(peaks) == size + max(max(0, b - a) for a, b in pairwise(shares))
    assert drained == old
    w.roll()  # all is done: a second time changes nothing
    after = w.picture()
    assert (after.minimum, after.maximum, after.desired, len(after.current)) == (size, size, size, size)
    assert not after.new_instances_protected
    assert not after.suspended
    assert not any(one.protected for one in after.instances)
    assert w.lowest_ready == size


def outputs(w):
    """Return what Terraform says of the fleet."""
    record = w.record()
    return {
        "web": FleetOutput(
            autoscaling_group=record.group,
            launch_template_id=record.launch_template_id,
            termination_hook=record.termination_hook,
            drain_document=record.drain_document,
        )
    }


def fleet(*waves):
    """Return a fleet's settings."""
    return {"web": config.Fleet(waves=list(waves))}


def test_waves_are_frozen_from_the_first_change_on():
    w = world(4, maximum=8)
    frozen = begin.record_fleets(w.clients, w.ledger, outputs(w), fleet(1, "100%"))
    assert frozen.fleets["web"].waves == ("1", "100%")
    w.waves = ("2", "100%")
    begin.record_fleets(w.clients, w.ledger, outputs(w), fleet(2, "100%"))  # nothing has begun
    assert w.record().waves == ("2", "100%")
    w.release()
    w.roll_wave(1)
    said = r"fleets.web.waves was changed from 2, 100% to 100% in the middle of a rollout; put it back"
    with pytest.raises(FleetError, match=said):
        begin.record_fleets(w.clients, w.ledger, outputs(w), fleet("100%"))
    w.waves = ("100%",)
    with pytest.raises(FleetError, match=said):
        w.run(w.step(ScaleOut, wave=1))
    w.waves = ("2", "100%")
    w.run(w.step(ScaleOut, wave=2))
