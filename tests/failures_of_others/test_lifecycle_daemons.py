"""Where daemons that complete termination hooks fail: lifecycled and the node termination handler (NTH)."""

from __future__ import annotations

import pytest

from tests.failures_of_others.support import AwaitCapacity, Retire, ScaleOut, drains, outside, peer

HUNG = "Fluentd still holds 70 bytes"


def retired(size=3, **group):
    """Roll until old instances are retired and wait at their hook; returns their ids, sorted."""
    w = peer(size, **group)
    w.release()
    for kind in (ScaleOut, AwaitCapacity):
        w.run(w.step(kind))
    (ids,) = w.run(w.step(Retire))
    w.settle(20)
    assert {drains.states(w)[one] for one in ids} == {"Terminating:Wait"}
    return w, sorted(ids)


def endings(w):
    """Return how each instance's lifecycle action was ended."""
    return {call["InstanceId"]: call["LifecycleActionResult"] for call in w.calls("CompleteLifecycleAction")}


@pytest.mark.parametrize(
    "bad",
    [
        drains.fails(HUNG, 1),
        {"answer": lambda *_: drains.CommandResult(status=0, stdout="done", stderr="")},
        {"answer": lambda *one: drains.receipt(*one, left=77)},
    ],
    ids=["it fails", "it says done, and proves nothing", "it says done, with a rest"],
)
def test_a_hook_is_not_completed_as_if_all_were_well_although_draining_failed(bad):
    """buildkite/lifecycled #55: its handler fails, and the action is completed all the same."""
    w, ids = retired()
    drains.behave(w, ids[:1], **bad)
    w.run(w.drain(ids))
    w.settle(60)
    assert endings(w) == {ids[0]: "ABANDON", ids[1]: "CONTINUE", ids[2]: "CONTINUE"}
    assert {one: state for one, state in drains.states(w).items() if one in ids} == {
        ids[0]: "Terminating:Retained"
    }, "its disk is kept, and what is on it"
    assert (w.record().retained, w.record().lost) == ((ids[0],), ())


def test_a_hook_is_not_completed_before_draining_has_ended():
    """aws-node-termination-handler #355: its hook is completed while pods still shut down."""
    w, ids = retired()
    drains.behave(w, ids, command_seconds=90)
    began = w.aws.clock.now()
    w.run(w.drain(ids))
    assert endings(w) == dict.fromkeys(ids, "CONTINUE")
    assert w.aws.clock.now() - began >= 90
    assert not any("without a receipt" in line for line in w.log)


@pytest.mark.parametrize("default_result", ["CONTINUE", "ABANDON"])
def test_a_drain_that_outlasts_the_heartbeat_timeout_is_not_cut_off(default_result):
    """aws-node-termination-handler #493: no heartbeats, so the hook ends what is being drained."""
    w, ids = retired(heartbeat_seconds=60, default_result=default_result)
    drains.behave(w, ids, command_seconds=280)
    receipts = w.run(w.drain(ids))
    assert sorted(one["instance_id"] for one in receipts) == ids
    assert [one["bytes_after"] for one in receipts] == [0, 0, 0]
    assert endings(w) == dict.fromkeys(ids, "CONTINUE")
    assert len(w.calls("RecordLifecycleActionHeartbeat")) >= 3 * 280 // 60


def idle(size, **group):
    """Make a fleet that no rollout is at, and that may shrink."""
    w = peer(size, minimum=0, **group)
    w.ledger.close()
    w.floor = 0
    return w


def test_an_instance_whose_event_was_dropped_is_not_stuck():
    """Event-driven daemons (lifecycled, NTH): a lost message leaves its instance to the timeout."""
    w = idle(3, heartbeat_seconds=900)
    (waits,) = outside.terminate(w)
    w.aws.bus.events.clear()  # nobody was told
    began = w.aws.clock.now()
    assert outside.found(w) == [waits]
    (drained,) = w.run(outside.drain(w, [waits]))
    assert (drained["instance_id"], drained["bytes_after"]) == (waits, 0)
    w.settle(15)
    assert waits not in drains.states(w)
    assert w.aws.clock.now() - began < 60
    assert outside.found(w) == []


def test_one_that_waited_while_nobody_was_there_is_found_by_the_next_look():
    """buildkite/lifecycled #55: its queue goes with the notice; nothing comes back if the handler dies."""
    w = idle(3, heartbeat_seconds=900)
    waits = outside.terminate(w, 2)
    killed = outside.drain(w, waits)
    killed.look().perform()  # sent, and then its process is gone
    w.settle(300)  # until the next look, by schedule
    left = outside.found(w)
    assert sorted(left) == sorted(waits)
    assert len(w.run(outside.drain(w, left, "drain_terminating_production/2"))) == 2
    assert len(w.calls("SendCommand")) == 1, "its receipts are found, nobody is asked twice"
    w.settle(15)
    assert not set(waits) & set(drains.states(w))


def test_an_instance_that_nobody_can_reach_is_not_left_to_its_timeout():
    """aws-node-termination-handler #575: what never joined the cluster is ignored, and its hook times out."""
    w, ids = retired(heartbeat_seconds=7200, default_result="CONTINUE")
    drains.behave(w, ids[:1], agent_online=False)
    began = w.aws.clock.now()
    w.run(w.drain(ids))
    assert w.aws.clock.now() - began < 360, "drain.timeout and a little, not the hook's two hours"
    assert endings(w) == {ids[0]: "ABANDON", ids[1]: "CONTINUE", ids[2]: "CONTINUE"}
    assert drains.states(w)[ids[0]] == "Terminating:Retained"
