"""Draining: the receipt is insisted on, and everything that can go wrong has a name."""

from __future__ import annotations

from functools import partial

import pytest

from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import begin
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from sandbox.model.ports import CommandResult
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import ledger, receipt, world


def retired(size=2, **group):
    """Roll until the old instances are retired; returns the world and their ids."""
    w = world(size, maximum=2 * size, **group)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    (ids,) = w.run(w.step(Retire))
    return w, ids


def behave(w, ids, **behaviour):
    for instance_id in ids:
        w.aws.hypervisor.instances[instance_id] = Behaviour(**{"answer": receipt, **behaviour})


def test_receipts_name_what_was_buffered():
    w, ids = retired()
    drained = w.run(w.drain(ids))
    assert sorted(one["instance_id"] for one in drained) == sorted(ids)
    assert {one["bytes_before"] for one in drained} == {512}


def test_the_drain_waits_for_the_load_balancer_to_let_go():
    w, ids = retired(deregistration_delay_seconds=90)
    w.run(w.drain(ids))
    sent = next(n for n, line in enumerate(w.log) if line.startswith("run drain-web"))
    assert any("Terminating" in line for line in w.log[:sent])


def test_a_failing_script_is_an_error_with_its_words_and_is_asked_again_by_a_retry():
    w, ids = retired()
    behave(w, ids[:1], answer=lambda *_: CommandResult(status=3, stdout="", stderr="connection refused"))
    with pytest.raises(DrainError, match=f"{ids[0]}: Failed, it says: connection refused"):
        w.run(w.drain(ids))
    behave(w, ids[:1])
    w.settle(10)
    assert len(w.run(w.drain(ids))) == 2


def test_a_receipt_that_shows_a_rest_is_an_error():
    w, ids = retired()
    behave(w, ids[:1], answer=partial(receipt, left=77))
    with pytest.raises(DrainError, match="77 bytes"):
        w.run(w.drain(ids))


def test_a_script_without_a_receipt_is_an_error():
    w, ids = retired()
    behave(w, ids[:1], answer=lambda *_: CommandResult(status=0, stdout="done", stderr=""))
    with pytest.raises(DrainError, match="ended without a receipt"):
        w.run(w.drain(ids))


def test_heartbeats_keep_a_slow_drain_alive():
    w, ids = retired(heartbeat_seconds=60, default_result="CONTINUE")
    behave(w, ids, command_seconds=200)
    assert len(w.run(w.drain(ids))) == 2


def test_a_dead_agent_does_not_keep_the_others_from_being_drained():
    w, ids = retired(3)
    behave(w, ids[:1], agent_online=False)
    with pytest.raises(DrainError, match=f"{ids[0]} waits for its SSM agent"):
        w.run(w.drain(ids))
    assert {one.instance_id for one in w.picture().instances}.isdisjoint(ids[1:])


def test_an_instance_that_goes_without_a_receipt_is_named_once_and_noted():
    w, ids = retired()
    w.clients.ec2.terminate_instances(InstanceIds=[ids[0]])
    with pytest.raises(DrainError, match=f"{ids[0]} went without a receipt that says it is empty"):
        w.run(w.drain(ids))
    assert w.record().lost == (ids[0],)
    again = w.run(w.drain(ids))
    assert {"instance_id": ids[0], "lost": True} in again
    assert len(again) == 2


def test_an_agent_that_vanishes_between_look_and_send_is_bisected_away():
    w, ids = retired(5)
    w.settle(60)
    step = w.drain(ids)
    act = step.look()
    behave(w, [ids[2]], agent_online=False)
    act.perform()
    w.settle(10)
    commands = w.clients.ssm.list_command_invocations()["CommandInvocations"]
    assert {one["InstanceId"] for one in commands} == set(ids) - {ids[2]}


def test_a_drain_that_was_sent_by_a_dead_worker_is_not_sent_again():
    w, ids = retired()
    w.settle(60)
    behave(w, ids, command_seconds=30)
    w.drain(ids).look().perform()
    w.settle(5)
    w.run(w.drain(ids, ledger(w.aws, "run-1")))
    assert len(w.clients.ssm.list_command_invocations()["CommandInvocations"]) == 2


def test_an_instance_whose_drain_was_given_up_is_retained_and_named():
    w, ids = retired(heartbeat_seconds=60, default_result="ABANDON")
    assert begin.retain_abandoned(w.clients, w.ledger) == ["web"]
    assert begin.retain_abandoned(w.clients, w.ledger) == []
    behave(w, ids[:1], answer=lambda *_: CommandResult(status=1, stdout="", stderr="no"))
    with pytest.raises(DrainError, match="Failed, it says: no"):
        w.run(w.drain(ids))
    w.settle(200)  # nobody sends heartbeats: the hook times out
    with pytest.raises(DrainError, match=f"{ids[0]} was not drained .* and is retained"):
        w.run(w.drain(ids))
    again = w.run(w.drain(ids))
    assert {"instance_id": ids[0], "lost": True} in again
    kept = w.clients.autoscaling.describe_auto_scaling_instances(InstanceIds=[ids[0]])
    assert kept["AutoScalingInstances"][0]["LifecycleState"] == "Terminating:Retained"
