"""Draining: the receipt is insisted on, and nobody is asked twice for nothing."""

from __future__ import annotations

from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from tests.core.rollout.drains.support import behave, retired, sent
from tests.core.rollout.harness import DOCUMENT, ledger, world


def test_receipts_name_what_was_buffered():
    w, ids = retired()
    drained = w.run(w.drain(ids))
    assert sorted(one["instance_id"] for one in drained) == sorted(ids)
    assert {one["bytes_before"] for one in drained} == {512}


def test_the_drain_waits_for_the_load_balancer_to_let_go():
    w, ids = retired(deregistration_delay_seconds=90)
    w.run(w.drain(ids))
    first = next(n for n, line in enumerate(w.log) if line.startswith("run drain-web"))
    assert any("Terminating" in line for line in w.log[:first])


def test_heartbeats_keep_a_slow_drain_alive():
    w, ids = retired(heartbeat_seconds=60, default_result="CONTINUE")
    behave(w, ids, command_seconds=200)
    assert len(w.run(w.drain(ids))) == 2
    assert w.record().undrained == {}


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
    assert [sorted(one) for one in sent(w)] == [sorted(ids)]


def test_what_a_person_tried_while_the_instance_served_is_no_receipt():
    w = world(2, maximum=4)
    old = [one.instance_id for one in w.picture().instances]
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.clients.ssm.send_command(DocumentName=DOCUMENT, InstanceIds=old[:1])
    w.settle(30)
    (ids,) = w.run(w.step(Retire))
    w.run(w.drain(ids))
    assert [sorted(one) for one in sent(w)] == [sorted(ids), old[:1]]
