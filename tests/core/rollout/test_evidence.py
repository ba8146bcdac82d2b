"""What AWS said of a fleet whose rollout has failed, and how much of it is kept."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import CapacityError
from bakeroll.core.rollout import evidence
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from sandbox.model.ports import CheckResult, CommandResult
from sandbox.virtual import Behaviour
from tests.core.rollout.drains.support import behave, fails, retired
from tests.core.rollout.harness import receipt, world

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
SHORT = "We currently do not have sufficient t3.micro capacity"


def gathered(w, fleet="web"):
    """Gather the evidence as the journal has it now."""
    journal = w.ledger.peek()
    assert journal
    return evidence.gather(w.clients, journal, fleet)


def given_up(w):
    """Wait for capacity in vain."""
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError):
        w.run(w.step(AwaitCapacity))


def sick_release(w):
    """Release a version whose targets never get healthy."""
    image_id = w.aws.image("application-sick")
    w.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, check=SICK)
    w.release(image_id)
    return image_id


def new(w):
    return [one.instance_id for one in w.picture().current]


def test_launches_that_failed_are_told_in_the_words_of_auto_scaling_each_once():
    w = world(2)
    w.release()
    w.aws.faults.set(fault="launch-failure", code="InsufficientInstanceCapacity", message=SHORT)
    given_up(w)
    found = gathered(w)
    assert found == {"scaling activities": f"{SHORT}. Launching EC2 instance failed."}


def test_a_launch_that_failed_before_the_rollout_is_none_of_its_evidence():
    w = world(2)
    number = w.aws.faults.set(fault="launch-failure", code="InsufficientInstanceCapacity", message=SHORT)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    w.settle(20)
    w.aws.faults.clear(number)
    w.settle()
    activities = w.clients.autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    assert any(one["StatusCode"] == "Failed" for one in activities)
    w.ledger.update(lambda journal: journal.model_copy(update={"opened_at": w.aws.clock.now()}))
    assert "scaling activities" not in gathered(w)


def test_targets_that_are_not_healthy_are_told_with_the_reason_of_each_and_no_old_one_is():
    w = world(2)
    old = {one.instance_id for one in w.picture().instances}
    sick_release(w)
    given_up(w)
    said = gathered(w)["target health"].splitlines()
    assert len(said) == 2
    for line in said:
        instance_id, words = line.split(" ", 1)
        assert instance_id not in old
        assert words == "unhealthy: Target.ResponseCodeMismatch codes: [500]"


def test_of_many_targets_a_few_are_told():
    w = world(8, maximum=16)
    sick_release(w)
    given_up(w)
    assert len(gathered(w)["target health"].splitlines()) == evidence.TARGETS


@pytest.mark.parametrize("which", [0, 1])
def test_the_console_is_that_of_one_which_does_not_serve(which):
    w = world(2)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    sick = sorted(new(w))[which]
    w.aws.hypervisor.instances[sick] = Behaviour(answer=receipt, check=SICK)
    w.settle(30)
    consoles = {kind: text for kind, text in gathered(w).items() if kind.startswith("console")}
    assert consoles == {f"console of {sick}": f"virtual machine {sick}"}


def test_the_output_of_a_drain_that_failed_is_told_and_of_none_that_did_not():
    w, ids = retired()
    behave(w, ids[:1], answer=lambda *_: CommandResult(status=4, stdout="queue: 7", stderr="refused"))
    w.run(w.drain(ids))
    found = gathered(w)
    commands = {kind: text for kind, text in found.items() if kind.startswith("command")}
    assert commands == {f"command on {ids[0]}": "Failed\nqueue: 7\nrefused"}


def test_a_drain_that_went_well_the_second_time_is_no_evidence():
    w, ids = retired()
    behave(w, ids[:1], **fails())
    step = w.drain(ids)
    while not _failed(w):
        decision = step.look()
        if hasattr(decision, "perform"):
            decision.perform()
        w.settle(2)
    assert f"command on {ids[0]}" in gathered(w)
    behave(w, ids[:1])
    w.run(w.drain(ids))
    assert not any(kind.startswith("command") for kind in gathered(w))


def _failed(w):
    found = w.clients.ssm.list_command_invocations()["CommandInvocations"]
    return any(one["Status"] == "Failed" for one in found)


def test_of_a_long_text_the_end_is_kept():
    w, ids = retired()
    words = "x" * evidence.LONGEST + " the last words"
    behave(w, ids[:1], **fails(words))
    w.run(w.drain(ids))
    said = gathered(w)[f"command on {ids[0]}"]
    assert len(said) == evidence.LONGEST
    assert said.endswith("x the last words")


def test_a_fleet_about_which_there_is_nothing_to_say():
    w = world(2)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.run(w.step(Retire))
    assert all(kind.startswith("console of ") for kind in gathered(w))
    assert gathered(w, "worker") == {}, "the journal has no such fleet"


@pytest.mark.parametrize(
    "action",
    [
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "elbv2:DescribeTargetHealth",
        "ec2:GetConsoleOutput",
        "ssm:ListCommandInvocations",
    ],
)
def test_where_aws_does_not_answer_that_is_said(action):
    w = world(2)
    sick_release(w)
    given_up(w)
    w.aws.faults.set(fault="error", action=action, code="AccessDenied", message="Not you.", status=403)
    found = gathered(w)
    assert list(found) == ["evidence"]
    assert found["evidence"].startswith("AWS could not be asked for it: An error occurred (AccessDenied)")
