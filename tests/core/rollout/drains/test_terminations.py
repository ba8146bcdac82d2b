"""Drains outside deployments: whatever waits is drained, and nobody waits for another."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from bakeroll.core.errors import DrainError
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.drains import DrainWaiting, terminations
from bakeroll.core.rollout.drains.undrained import Records
from bakeroll.core.rollout.journal.known_fleets import KnownFleet
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from bakeroll.core.steps import Act, Wait
from sandbox.model.ports import CommandResult
from tests.core.rollout.drains.support import (
    behave,
    endless,
    fails,
    keep_abandoned,
    listen,
    record,
    sent,
    states,
    told,
)
from tests.core.rollout.harness import BUCKET, DOCUMENT, ledger, receipt, world

DELAY = 10.0
"""Deregistration delay of the fleets here, in seconds."""


def idle(size=2, **group):
    """Make a fleet that serves, without a rollout."""
    w = world(size, maximum=2 * size, deregistration_delay_seconds=int(DELAY), **group)
    w.ledger.close()
    w.floor = 0
    return w


def known(w, on_failure="retain"):
    return KnownFleet(
        group=w.made.group,
        termination_hook=w.made.hook,
        drain_document=DOCUMENT,
        drain_timeout=timedelta(minutes=5),
        stop_units=("web.service",),
        on_failure=on_failure,
    )


def find(w):
    return terminations.find(w.clients, {"web": known(w)}, w.ledger.peek(), w.aws.clock.now())


def found(w):
    return [instance_id for chunk in find(w).chunks for instance_id in chunk["instance_ids"]]


def drain(w, ids, run="drain_terminating_production/1", *, on_failure="retain"):
    """Make a drain as a task that starts now."""

    def make(earlier):
        return DrainWaiting(
            w.clients,
            BUCKET,
            "production",
            "web",
            ids,
            place=known(w, on_failure),
            run=run,
            clock=w.aws.clock.now,
            earlier=earlier,
        )

    return make(make([]).earlier_commands())


def serving(w):
    return [one.instance_id for one in w.picture().instances if one.in_service]


def terminate(w, count=1, *, decrement=True):
    """Terminate some as a person does, until they wait at their hook; return their ids."""
    ids = serving(w)[:count]
    for instance_id in ids:
        w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=decrement
        )
    w.settle(DELAY + 1)
    return ids


def loosen(w):
    """Let the group shrink."""
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=w.made.group, MinSize=0)


def test_a_person_terminates_an_instance():
    w = idle()
    (gone,) = terminate(w, decrement=False)
    assert states(w)[gone] == "Terminating:Wait"
    began = w.aws.clock.now()
    assert found(w) == [gone]
    (drained,) = w.run(drain(w, [gone]))
    flush = w.aws.hypervisor.default.command_seconds
    assert w.aws.clock.now() - began < flush + 15
    assert (drained["instance_id"], drained["bytes_before"]) == (gone, 512)
    kept = record(w, gone)
    assert kept["run"] == "drain_terminating_production/1"
    assert kept["receipt"]["bytes_after"] == 0
    w.settle()
    assert gone not in states(w)
    assert found(w) == []


def test_the_right_units_are_stopped():
    w = idle()
    ids = terminate(w, decrement=False)
    w.run(drain(w, ids))
    (command,) = w.clients.ssm.list_commands()["Commands"]
    assert command["Parameters"] == {"StopUnits": ["web.service"], "TimeoutSeconds": ["300"]}


def test_a_scale_in_of_five_is_one_command():
    w = idle(6)
    loosen(w)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName=w.made.group, DesiredCapacity=1)
    w.settle(DELAY + 1)
    ids = found(w)
    assert len(ids) == 5
    assert len(w.run(drain(w, ids))) == 5
    assert [sorted(one) for one in sent(w)] == [sorted(ids)]


def test_an_unhealthy_instance_is_drained_before_it_is_replaced():
    w = idle()
    sick = serving(w)[0]
    w.clients.autoscaling.set_instance_health(InstanceId=sick, HealthStatus="Unhealthy")
    w.settle(60)
    assert found(w) == [sick]
    w.run(drain(w, [sick]))
    w.settle()
    assert sick not in states(w)
    assert len(serving(w)) == 2


def test_fifty_instances_a_command():
    w = idle(53)
    loosen(w)
    terminate(w, 52)
    assert [len(chunk["instance_ids"]) for chunk in find(w).chunks] == [50, 2]


def retired():
    """Roll until the old instances are retired and wait; the rollout lives."""
    w = world(2, maximum=8, deregistration_delay_seconds=int(DELAY))
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    (ids,) = w.run(w.step(Retire))
    w.floor = 0
    w.settle(DELAY + 1)
    w.ledger.update(lambda journal: journal)  # as its waiting drain does
    return w, ids


def test_a_live_rollout_keeps_what_it_retired_and_nothing_else():
    w, ids = retired()
    look = find(w)
    assert look.chunks == []
    assert any("left to dag/run-1" in line and ids[0] in line for line in look.told)
    assert w.wire is not None
    assert w.wire.count("autoscaling", "RecordLifecycleActionHeartbeat") == len(ids)
    loosen(w)
    other = terminate(w)
    w.ledger.update(lambda journal: journal)
    assert found(w) == other
    assert len(w.run(drain(w, other))) == 1
    assert sorted(one["instance_id"] for one in w.run(w.drain(ids))) == sorted(ids)


def test_what_a_dead_rollout_retired_is_drained_and_its_heir_finds_the_receipts():
    w, ids = retired()
    w.settle(61)  # the lease lapses
    assert sorted(found(w)) == sorted(ids)
    assert len(w.run(drain(w, ids))) == 2
    w.settle()
    heir = ledger(w.aws, "run-2")
    w.run(Begin(heir, "production", alive=lambda _owner: False))
    assert sorted(one["instance_id"] for one in w.run(w.drain(ids, heir))) == sorted(ids)
    assert len(sent(w)) == 1, "nothing was asked twice"


def test_an_heir_that_comes_in_the_middle_of_a_drain_shares_it():
    w, ids = retired()
    w.settle(61)
    behave(w, ids, command_seconds=30)
    step = drain(w, ids)
    step.look().perform()
    w.settle(5)
    heir = ledger(w.aws, "run-2")
    w.run(Begin(heir, "production", alive=lambda _owner: False))
    assert found(w) == []
    assert len(w.run(w.drain(ids, heir))) == 2
    assert len(w.run(step)) == 2
    assert len(sent(w)) == 1


def test_a_dead_agent_keeps_nobody_waiting():
    w = idle(4)
    loosen(w)
    dead, *others = terminate(w, 3)
    behave(w, [dead], agent_online=False)
    began = w.aws.clock.now()
    with pytest.raises(DrainError, match=f"2 of 3 drained. {dead}: its SSM agent does not answer"):
        w.run(drain(w, [dead, *others]))
    assert w.aws.clock.now() - began < 15, "it is not waited for"
    assert {record(w, one)["instance_id"] for one in others} == set(others)
    (later,) = terminate(w)
    assert sorted(found(w)) == sorted([dead, later])
    behave(w, [dead])  # somebody started the agent
    assert len(w.run(drain(w, found(w)))) == 2


@pytest.mark.parametrize("on_failure", ["retain", "continue"])
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (fails("no answer"), r"draining failed \(Failed\), it says: no answer"),
        ({"answer": partial(receipt, left=77)}, "says success but 77 bytes"),
        (
            {"answer": lambda *_: CommandResult(status=0, stdout="done", stderr="")},
            "ended without a receipt",
        ),
    ],
)
def test_a_failing_drain_keeps_nobody_waiting_and_follows_the_policy(behaviour, words, on_failure):
    w = idle(4)
    listen(w)
    loosen(w)
    bad, *others = terminate(w, 3)
    behave(w, [bad], **behaviour)
    with pytest.raises(DrainError, match=f"2 of 3 drained. {bad}: .*{words}"):
        w.run(drain(w, [bad, *others], on_failure=on_failure))
    w.settle()
    assert found(w) == [], "nobody is left at the hook"
    outcome = "retained" if on_failure == "retain" else "lost"
    assert states(w).get(bad) == ("Terminating:Retained" if on_failure == "retain" else None)
    assert record(w, bad)[outcome] is True
    ((subject, text),) = told(w)
    assert subject == f"bakeroll: production, fleet web: 1 {outcome} without being drained"
    assert bad in text


@pytest.mark.parametrize("on_failure", ["retain", "continue"])
def test_an_agent_that_stays_dead_is_asked_by_each_run_until_its_time_is_over(on_failure):
    w = idle(heartbeat_seconds=310)
    listen(w)
    (dead,) = terminate(w, decrement=False)
    behave(w, [dead], agent_online=False)
    for _ in range(2):  # every five minutes; the hook would have timed out between the first and the third
        assert found(w) == [dead]
        with pytest.raises(DrainError, match=r"does not answer; look at the instance. Each next run asks"):
            w.run(drain(w, [dead], on_failure=on_failure))
        w.settle(205)
    assert told(w) == []
    assert found(w) == [dead]
    with pytest.raises(DrainError, match="0 of 1 drained"):
        w.run(drain(w, [dead], on_failure=on_failure))
    w.settle()
    assert states(w).get(dead) == ("Terminating:Retained" if on_failure == "retain" else None)
    assert len(told(w)) == 1


def test_a_slow_drain_is_left_to_its_run_and_kept_alive_and_later_ones_go_their_way():
    w = idle(4, heartbeat_seconds=120)
    loosen(w)
    slow = terminate(w)
    behave(w, slow, command_seconds=280)
    stuck = drain(w, slow)
    stuck.look().perform()
    w.settle(100)
    later = terminate(w)
    look = find(w)
    assert [chunk["instance_ids"] for chunk in look.chunks] == [later]
    assert any("is being drained" in line for line in look.told)
    assert len(w.run(drain(w, later))) == 1
    w.settle(60)
    assert states(w)[slow[0]] == "Terminating:Wait", "the look restarted the hook's timeout"
    assert len(w.run(stuck)) == 1


def test_two_runs_at_the_same_moment_do_no_harm():
    w = idle(3)
    loosen(w)
    ids = terminate(w, 2)
    one, other = drain(w, ids, "dag/1"), drain(w, ids, "dag/2")
    for act in (one.look(), other.look()):  # neither sees the other's command yet
        assert isinstance(act, Act)
        act.perform()
    assert len(sent(w)) == 2
    assert isinstance(one.look(), Wait)
    w.settle(5)
    acts = [one.look(), other.look()]  # both are about to let the same instance go
    for act in acts:
        act.perform()
    assert len(w.run(one)) == 2
    assert len(w.run(other)) == 2
    assert record(w, ids[0])["run"] == "dag/1"


@pytest.mark.parametrize("acts", range(1, 4))
def test_a_run_that_is_killed_anywhere_is_followed_up(acts):
    w = idle(3)
    loosen(w)
    ids = terminate(w, 2)
    killed = drain(w, ids)
    for _ in range(acts):
        act = killed.look()
        assert isinstance(act, Act)
        act.perform()
        w.settle(5)
    left = found(w)
    assert len(left) == min(2, 3 - acts)
    if left:
        w.run(drain(w, left))
    w.settle()
    assert set(ids).isdisjoint(states(w))
    assert len(sent(w)) == 1, "nobody was asked twice"


def test_an_agent_that_goes_silent_follows_the_policy():
    w = idle(heartbeat_seconds=3600)
    (silent,) = terminate(w, decrement=False)
    endless(w)
    behave(w, [silent], command_seconds=100_000)
    with pytest.raises(DrainError, match=r"did not end in time \(InProgress\)"):
        w.run(drain(w, [silent]))
    assert states(w)[silent] == "Terminating:Retained"


def test_what_a_person_tried_before_is_no_receipt():
    w = idle()
    victim = serving(w)[0]
    w.clients.ssm.send_command(DocumentName=DOCUMENT, InstanceIds=[victim])
    w.settle(60)
    w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=victim, ShouldDecrementDesiredCapacity=False
    )
    w.settle(DELAY + 1)
    w.run(drain(w, [victim]))
    assert len(sent(w)) == 2


def test_one_that_its_hook_gave_up_is_retained_and_named_by_every_look():
    w = idle(heartbeat_seconds=60, default_result="ABANDON")
    keep_abandoned(w)
    (bad,) = terminate(w, decrement=False)
    w.settle(70)
    look = find(w)
    assert look.retained == {"web": [bad]}
    assert look.chunks == []
    with pytest.raises(DrainError, match="timed out before it was drained; it is kept, its log buffers on"):
        w.run(drain(w, [bad]))


def tell(w):
    return terminations.tell_of_retained(
        w.clients, BUCKET, "production", {"web": known(w)}, found=find(w), run="dag/1", now=w.aws.clock.now()
    )


def test_people_are_told_once_of_one_that_its_hook_gave_up():
    w = idle(heartbeat_seconds=60, default_result="ABANDON")
    keep_abandoned(w)
    (bad,) = terminate(w, decrement=False)
    w.settle(70)
    listen(w)
    assert tell(w) == tell(w) == []
    ((subject, text),) = told(w)
    assert subject == "bakeroll: production, fleet web: 1 retained without being drained"
    assert f"{bad}: nobody drained it before drain timed out; it is kept" in text
    assert record(w, bad)["retained"] is True


def test_where_nobody_can_be_told_the_look_says_so():
    w = idle(heartbeat_seconds=60, default_result="ABANDON")
    keep_abandoned(w)
    (bad,) = terminate(w, decrement=False)
    w.settle(70)
    (line,) = tell(w)
    assert f"nobody could be told of {bad}: there is no topic production-drain-failures" in line


def test_a_receipt_replaces_a_failure_in_the_record_and_nothing_else_does():
    w = idle()
    records = Records(w.clients, BUCKET, "production", fleet="web")
    for facts in ({"lost": True}, {"retained": True}, {"receipt": {"n": 1}}, {"receipt": {"n": 2}}):
        records.write("i-1", 0.0, facts)
    assert record(w, "i-1")["receipt"] == {"n": 1}
    records.write("i-1", 0.0, {"lost": True})
    assert "lost" not in record(w, "i-1")


def test_one_that_is_terminated_directly_is_told_and_noted():
    w = idle(3)
    loosen(w)
    gone, other = terminate(w, 2)
    behave(w, [gone], command_seconds=60)
    step = drain(w, [gone, other])
    step.look().perform()
    w.clients.ec2.terminate_instances(InstanceIds=[gone])
    with pytest.raises(DrainError, match=f"1 of 2 drained. {gone}: it went without a receipt"):
        w.run(step)
    assert record(w, gone)["lost"] is True
    assert "receipt" in record(w, other)


def test_nothing_deployed_nothing_asked():
    w = idle()
    before = w.wire.count("autoscaling", "DescribeAutoScalingGroups")
    assert terminations.find(w.clients, {}, None, 0.0).chunks == []
    assert w.wire.count("autoscaling", "DescribeAutoScalingGroups") == before


def test_a_look_where_nothing_waits_asks_for_the_groups_alone():
    w = idle()
    asked = (("ssm", "ListCommandInvocations"), ("autoscaling", "DescribeScalingActivities"))
    before = [w.wire.count(*name) for name in asked]
    assert find(w).chunks == []
    assert [w.wire.count(*name) for name in asked] == before


def test_a_group_that_is_gone_has_nothing_to_drain():
    w = idle()
    w.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=w.made.group, ForceDelete=True)
    w.settle(200)
    assert find(w).chunks == []
