"""Each fault of a rollout's drains leads to its documented outcome (docs/drains.md), and holds nothing up."""

from __future__ import annotations

from functools import partial

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.waves import Settle
from bakeroll.core.steps import Act
from sandbox.model.ports import CommandResult
from tests.core.rollout.drains.support import (
    behave,
    completions,
    endless,
    fails,
    keep_abandoned,
    listen,
    record,
    retired,
    sent,
    states,
    told,
)
from tests.core.rollout.harness import ledger, receipt, wired_world, world

POLICIES = ("retain", "continue")
UNREAD = "812 bytes of tailed files are still unread"
HUNG = "Fluentd still holds 70 bytes in 3 queued chunks, 0 bytes are unread"


def check_outcome(w, ids, bad, result, *, policy, words):
    """Check that the bad ones followed the policy, that people know, and that nobody is held any more."""
    w.settle(60)
    standing = states(w)
    assert "Terminating:Wait" not in standing.values()
    outcome = "retained" if policy == "retain" else "lost"
    named = {one["instance_id"]: one for one in result}
    assert sorted(named) == sorted(ids)
    for instance_id in bad:
        assert standing.get(instance_id) == ("Terminating:Retained" if policy == "retain" else None)
        assert named[instance_id][outcome] is True
        assert words in named[instance_id]["why"]
        assert words in record(w, instance_id)["why"]
    for instance_id in set(ids) - set(bad):
        assert instance_id not in standing
        assert named[instance_id]["bytes_after"] == 0
    journal = w.record()
    assert (set(journal.retained), set(journal.lost)) == (
        (set(bad), set()) if policy == "retain" else (set(), set(bad))
    )
    messages = told(w)
    assert [subject for subject, _ in messages] == [
        f"bakeroll: production, fleet web: {len(bad)} {outcome} without being drained"
    ]
    assert all(instance_id in messages[0][1] and words in messages[0][1] for instance_id in bad)
    w.run(w.step(Settle))


@pytest.mark.parametrize(
    ("size", "policy", "make"),
    [
        (2, "retain", world),
        (2, "retain", wired_world),  # with a queue at a topic, as people have it
        (2, "continue", world),
        (50, "retain", world),
        (50, "continue", world),
    ],
)
def test_a_failing_flush(size, policy, make):
    w, ids = retired(size, make=make)
    listen(w)
    bad = ids[:1] if size == 2 else ids[3:6]
    behave(w, bad, **fails(HUNG, 1))
    result = w.run(w.drain(ids, on_failure=policy))
    check_outcome(w, ids, bad, result, policy=policy, words=HUNG)
    assert [sorted(one) for one in sent(w)] == [sorted(ids)], "nobody was asked twice"


@pytest.mark.parametrize("policy", POLICIES)
def test_tailed_files_that_are_not_read_to_their_end(policy):
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], **fails(UNREAD, 1))
    check_outcome(w, ids, ids[:1], w.run(w.drain(ids, on_failure=policy)), policy=policy, words=UNREAD)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (partial(receipt, left=77), "says success but 77 bytes in 0 chunks and 0 unread bytes are left"),
        (lambda *_: CommandResult(status=0, stdout="done", stderr=""), "ended without a receipt"),
        (lambda *_: CommandResult(status=0, stdout='{"bakeroll_receipt": 1}', stderr=""), "cannot be read"),
    ],
)
def test_a_receipt_that_does_not_say_empty(answer, words, policy):
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], answer=answer)
    check_outcome(w, ids, ids[:1], w.run(w.drain(ids, on_failure=policy)), policy=policy, words=words)


@pytest.mark.parametrize(("size", "policy"), [(2, "retain"), (2, "continue"), (50, "retain")])
def test_a_dead_agent(size, policy):
    w, ids = retired(size)
    listen(w)
    bad = ids[:1] if size == 2 else [ids[0], ids[7], ids[49]]
    behave(w, bad, agent_online=False)
    began = w.aws.clock.now()
    result = w.run(w.drain(ids, on_failure=policy))
    assert 300 <= w.aws.clock.now() - began <= 360, "the drain's own timeout, not the hook's"
    check_outcome(w, ids, bad, result, policy=policy, words="its SSM agent does not answer")


def test_an_agent_that_comes_back_in_time():
    w, ids = retired()
    behave(w, ids[:1], agent_online=False)
    w.aws.clock.call_later(200, lambda: behave(w, ids[:1]))
    assert all(one["bytes_after"] == 0 for one in w.run(w.drain(ids)))
    assert w.record().undrained == {}


@pytest.mark.parametrize("policy", POLICIES)
def test_an_agent_that_dies_in_the_middle_of_its_script(policy):
    w, ids = retired(heartbeat_seconds=60)
    endless(w)
    listen(w)
    behave(w, ids[:1], command_seconds=100_000)
    result = w.run(w.drain(ids, on_failure=policy))
    check_outcome(w, ids, ids[:1], result, policy=policy, words="did not end in time (InProgress)")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_command_that_is_never_delivered(policy):
    w, ids = retired()
    listen(w)
    w.settle(60)
    step = w.drain(ids, on_failure=policy)
    step.look().perform()
    behave(w, ids[:1], agent_online=False)
    check_outcome(
        w, ids, ids[:1], w.run(step), policy=policy, words="not delivered or was cancelled (DeliveryTimedOut)"
    )


def test_a_command_that_is_cancelled_is_sent_again():
    w, ids = retired()
    w.settle(60)
    behave(w, ids, command_seconds=20)
    step = w.drain(ids)
    step.look().perform()
    w.settle(5)
    (command,) = w.clients.ssm.list_commands()["Commands"]
    w.clients.ssm.cancel_command(CommandId=command["CommandId"], InstanceIds=ids[:1])
    assert all(one["bytes_after"] == 0 for one in w.run(step))
    assert sent(w) == [ids[:1], sorted(ids, key=sent(w)[1].index)]


def test_a_command_that_is_cancelled_again_and_again():
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], command_seconds=60)

    def cancel(w):
        for one in w.clients.ssm.list_command_invocations()["CommandInvocations"]:
            if one["InstanceId"] == ids[0] and one["Status"] == "InProgress":
                w.clients.ssm.cancel_command(CommandId=one["CommandId"], InstanceIds=ids[:1])

    w.on_pass = cancel
    result = w.run(w.drain(ids, on_failure="retain"))
    w.on_pass = None
    assert len(sent(w)) < 20, "not as fast as it is cancelled"
    check_outcome(w, ids, ids[:1], result, policy="retain", words="was cancelled (Cancelled)")


@pytest.mark.parametrize(("default_result", "policy"), [("ABANDON", "retain"), ("CONTINUE", "continue")])
def test_a_hook_that_times_out_under_us(default_result, policy):
    w, ids = retired(heartbeat_seconds=60, default_result=default_result)
    listen(w)
    keep_abandoned(w)
    behave(w, ids[:1], command_seconds=250)
    step = w.drain(ids)
    while w.aws.clock.now() < w.ledger.peek().opened_at + 1000 and len(sent(w)) == 0:
        w.settle(5)
        if isinstance(decision := step.look(), Act):
            decision.perform()
    w.settle(300)  # nobody is there to send heartbeats
    result = w.run(w.drain(ids))
    named = {one["instance_id"]: one for one in result}
    if policy == "continue":
        # The script ended while it was held by nobody: its receipt counts, and only that.
        assert set(named) == set(ids)
    outcome = {"retain": "retained", "continue": "lost"}[policy]
    assert all(one.get(outcome) or one.get("bytes_after") == 0 for one in result)
    assert outcome in named[ids[0]]
    assert states(w).get(ids[0]) == ("Terminating:Retained" if policy == "retain" else None)
    assert ids[0] in told(w)[0][1]


def test_an_instance_that_is_gone_is_named_and_noted_once():
    w, ids = retired()
    listen(w)
    w.clients.ec2.terminate_instances(InstanceIds=[ids[0]])
    result = w.run(w.drain(ids))
    check_outcome(
        w, ids, ids[:1], result, policy="continue", words="went without a receipt that says it is empty"
    )
    again = w.run(w.drain(ids))
    assert {one["instance_id"] for one in again if "lost" in one} == {ids[0]}
    assert told(w) == []


def test_abandoning_waits_for_the_groups_policy_to_keep_what_is_abandoned():
    w, ids = retired(default_result="ABANDON")
    assert not lifecycle_actions.keeps_abandoned(w.clients, w.made.group)
    behave(w, ids[:1], **fails())
    w.run(w.drain(ids))
    policy = next(n for n, line in enumerate(w.log) if line == "have web keep abandoned instances")
    assert any("with ABANDON" in line for line in w.log[policy:])
    assert states(w)[ids[0]] == "Terminating:Retained"


def test_a_group_that_did_not_keep_what_was_abandoned_is_a_loss():
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], **fails())

    def meddle(w):
        if "lifecycle action with ABANDON" not in " ".join(w.log):
            w.clients.autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=w.made.group,
                InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "terminate"}},
            )

    step = w.drain(ids)
    keep_abandoned(w)
    while not isinstance(act := step.look(), Act) or "with ABANDON" not in act.what:
        if isinstance(act, Act):
            act.perform()
        else:
            w.settle(5)
    meddle(w)
    act.perform()
    w.settle(60)
    result = w.run(step)
    check_outcome(w, ids, ids[:1], result, policy="continue", words="the group did not keep it")


def test_without_a_topic_the_drain_goes_on_and_says_so():
    w, ids = retired()
    behave(w, ids[:1], **fails())
    w.run(w.drain(ids))
    assert w.log[-1].endswith(
        "Nobody could be told: there is no topic production-drain-failures; apply Terraform"
    )


def test_that_nobody_could_be_told_is_said_at_the_end_also_by_another_worker():
    w, ids = retired()
    behave(w, ids[:1], **fails())
    behave(w, ids[1:], command_seconds=100)
    w.settle(30)
    step = w.drain(ids)
    while not w.record().told:
        if isinstance(decision := step.look(), Act):
            decision.perform()
        else:
            w.settle(5)
    w.run(w.drain(ids))
    assert "Nobody could be told: there is no topic" in w.log[-1]


def test_without_the_permission_to_tell_the_drain_goes_on_and_says_so():
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], **fails())
    w.aws.faults.set(
        fault="error", action="sns:Publish", code="AuthorizationError", message="No.", status=403
    )
    w.run(w.drain(ids))
    assert "publishing to production-drain-failures is not allowed (sns:Publish)" in w.log[-1]


def attempts(w, ids, policy, most=3):
    """Drain as Airflow does: a task whose call failed is tried again a little later, twice."""
    for attempt in range(most):
        try:
            return w.run(w.drain(ids, on_failure=policy))
        except (ClientError, BotoCoreError):
            assert attempt < most - 1
            w.settle(30)
    raise AssertionError


LOSABLE = (
    "ssm:SendCommand",
    "autoscaling:CompleteLifecycleAction",
    "autoscaling:RecordLifecycleActionHeartbeat",
    "autoscaling:UpdateAutoScalingGroup",
)


@pytest.mark.parametrize("fault", ["throttle", "lost"])
@pytest.mark.parametrize("action", LOSABLE)
def test_a_call_that_is_throttled_or_whose_answer_is_lost(action, fault):
    w, ids = retired(3, heartbeat_seconds=60)
    listen(w)
    behave(w, ids[1:], command_seconds=40)
    behave(w, ids[:1], **fails(HUNG))
    w.aws.faults.set(fault=fault, action=action, count=1)
    result = attempts(w, ids, "retain")
    assert w.aws.faults.list() == [], "it did strike"
    check_outcome(w, ids, ids[:1], result, policy="retain", words=HUNG)
    assert len(sent(w)) <= 3


@pytest.mark.parametrize("fault", ["throttle", "lost"])
def test_a_message_that_is_throttled_or_whose_answer_is_lost_comes_at_least_once(fault):
    w, ids = retired()
    listen(w)
    behave(w, ids[:1], **fails())
    w.aws.faults.set(fault=fault, action="sns:Publish", count=1)
    attempts(w, ids, "retain")
    assert 1 <= len(told(w)) <= 2


@pytest.mark.parametrize(
    ("acts", "policy"), [*((acts, "retain") for acts in range(9)), (2, "continue"), (3, "continue")]
)
def test_a_task_that_is_killed_after_any_act_is_followed_up(acts, policy):
    w, ids = retired(3)
    listen(w)
    behave(w, ids[:1], **fails(HUNG))
    w.settle(30)
    killed, done = w.drain(ids, on_failure=policy), 0
    while done < acts:
        match killed.look():
            case Act(_, perform):
                perform()
                done += 1
            case wait:
                if not hasattr(wait, "keep_alive"):
                    break  # it came to its end
                w.settle(3)
    behave(w, ids[:1], **fails(HUNG))
    result = w.run(w.drain(ids, ledger(w.aws, "run-1"), on_failure=policy))
    check_outcome(w, ids, ids[:1], result, policy=policy, words=HUNG)
    assert completions(w) <= len(ids) + 1


def test_what_a_person_mended_is_asked_again_by_a_cleared_task():
    w, ids = retired()
    behave(w, ids[:1], **fails())
    w.settle(30)
    killed = w.drain(ids)
    killed.look().perform()
    w.settle(5)  # its script has failed, and the worker is gone before it sees that
    behave(w, ids[:1])
    assert all(one["bytes_after"] == 0 for one in w.run(w.drain(ids)))
    assert sent(w)[0] == ids[:1]


def test_an_instance_that_another_hook_still_holds_is_waited_for_and_named():
    w, ids = retired()
    w.settle(30)
    behave(w, ids[:1], command_seconds=30)
    step = w.drain(ids)
    step.look().perform()
    w.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=w.made.group,
        LifecycleHookName="other",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=7200,
    )
    assert len(w.run(step)) == len(ids)


def test_a_hook_that_is_gone_is_an_error_with_the_next_step():
    w, ids = retired()
    behave(w, ids, command_seconds=100)
    w.settle(30)
    act = w.drain(ids).look()
    w.clients.autoscaling.delete_lifecycle_hook(
        AutoScalingGroupName=w.made.group, LifecycleHookName=w.made.hook
    )
    with pytest.raises(DrainError, match="has no lifecycle hook drain; apply Terraform"):
        act.perform()


@pytest.mark.parametrize(
    ("wave", "then"),
    [(1, "then start a new run: this one is rolled back"), (0, "then clear this task")],
    ids=["forward", "in a rollback"],
)
def test_a_drain_that_comes_to_no_end_says_what_can_be_done_then(wave, then):
    w, ids = retired()
    behave(w, ids, command_seconds=100)
    w.ledger.deadline("web", f"wave_{wave}.drain", 0)
    step = w.drain(ids, wave=wave)
    with pytest.raises(DrainError, match=f"still not drained and gone: .*, {then}$"):
        w.run(step)
