"""A rollout that was cut off anywhere ends the same when it is taken up again."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import FleetError, LockedError, OwnershipLostError
from bakeroll.core.rollout.begin import Begin, close
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.steps import Act, Done, Wait
from tests.core.rollout.harness import ledger, world


class CutOffError(Exception):
    """The process was killed here."""


def cut_after(w, acts):
    """Kill whoever acts after so many acts."""
    left = [acts]

    def on_pass(w):
        done = sum(not line.startswith("...") for line in w.log)
        if done >= left[0]:
            raise CutOffError

    w.on_pass = on_pass


@pytest.mark.parametrize("acts", range(1, 14))
def test_a_new_run_takes_over_wherever_the_old_one_was_cut_off(acts):
    w = world(2, maximum=2)
    old = {one.instance_id for one in w.picture().instances}
    w.release()
    cut_after(w, acts)
    with pytest.raises(CutOffError):
        w.roll()
    w.on_pass = None
    w.settle(100)  # the lease lapses
    heir = ledger(w.aws, "run-2")
    w.run(Begin(heir, "production", alive=lambda _owner: False))
    w.roll(heir)
    after = w.picture()
    assert (after.minimum, after.maximum, after.desired) == (2, 2, 2)
    assert len(after.current) == 2
    assert not old & {one.instance_id for one in after.instances}
    assert sum("beyond" in line for line in w.log) == 1, "doubled twice"
    assert not after.suspended
    close(heir)
    assert heir.peek() is None


def test_a_live_owner_is_left_alone():
    w = world()
    begin = Begin(ledger(w.aws, "run-2"), "production", alive=lambda owner: owner == "dag/run-1")
    with pytest.raises(LockedError, match=r"dag/run-1 holds the journal and is still running"):
        begin.look()


def test_a_dead_owners_lease_is_waited_for():
    w = world()
    w.ledger.update(lambda journal: journal)
    begin = Begin(ledger(w.aws, "run-2"), "production", alive=lambda _owner: False)
    assert isinstance(begin.look(), Wait)
    w.settle(61)
    act = begin.look()
    assert isinstance(act, Act)
    act.perform()
    done = begin.look()
    assert isinstance(done, Done)
    assert done.result == {"epoch": 2}


def test_the_old_owner_can_do_nothing_after_a_takeover():
    w = world()
    w.release()
    w.settle(61)
    ledger(w.aws, "run-2").take_over(1)
    before = w.picture()
    with pytest.raises(OwnershipLostError, match=r"dag/run-2 took the journal over"):
        w.run(w.step(ScaleOut))
    assert w.picture() == before


def test_an_intent_that_nobody_needs_any_more_is_dropped():
    w = world()
    w.release()
    cut_after(w, 1)
    with pytest.raises(CutOffError):
        w.roll()
    w.on_pass = None
    w.release(w.made.image_id)  # somebody went back by hand
    w.roll()
    after = w.picture()
    assert (after.desired, after.minimum, after.maximum) == (2, 2, 4)


def test_the_journal_is_not_closed_while_capacity_is_raised():
    w = world()
    w.release()
    w.run(w.step(ScaleOut))
    with pytest.raises(FleetError, match="capacity of web is still raised"):
        close(w.ledger)


def test_retire_refuses_what_no_capacity_was_raised_for():
    w = world()
    w.release()
    with pytest.raises(FleetError, match="2 instances are not current but no capacity was raised"):
        w.run(w.step(Retire))
    with pytest.raises(FleetError, match="2 of 2 instances are not current"):
        w.run(w.step(Settle))


def test_a_new_target_in_the_middle_replaces_both_old_kinds():
    w = world(2, maximum=8)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.release()
    w.roll()
    after = w.picture()
    assert len(after.current) == 2
    assert not after.old
    assert (after.desired, after.minimum, after.maximum) == (2, 2, 8)
