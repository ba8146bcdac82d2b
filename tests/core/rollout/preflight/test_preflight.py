"""What is looked at before anything moves, on the model of an account."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bakeroll.core import config
from bakeroll.core.errors import PreflightError
from bakeroll.core.gate_settings import Gate
from bakeroll.core.rollout import preflight
from bakeroll.core.rollout.begin import retain_abandoned
from bakeroll.core.rollout.preflight import Findings
from bakeroll.core.rollout.preflight.fleet_check import AGENT_SECONDS, largest_step
from bakeroll.core.rollout.waves import ScaleOut
from tests.core.rollout.harness import DOCUMENT, World, wired_world

VCPUS = ("ec2", "L-1216C47A")
TARGETS = ("elasticloadbalancing", "L-A0D0B863")


def fleet(seconds: int = 300, **drain: Any) -> dict[str, config.Fleet]:
    return {"web": config.Fleet(drain=config.Drain(timeout=timedelta(seconds=seconds), **drain))}


def ready(size: int = 2, **group: Any) -> World:
    """Make a world with nothing wrong in it, behind the wire: what is looked at are quotas and the like."""
    made = wired_world(size, maximum=2 * size, heartbeat_seconds=900, default_result="ABANDON", **group)
    retain_abandoned(made.clients, made.ledger, fleet())
    return made


def look(made: World, settings: dict[str, config.Fleet] | None = None) -> Findings:
    journal = made.ledger.peek()
    assert journal is not None
    return preflight.look(made.clients, journal, settings or fleet(), made.aws.clock.now())


def problem(made: World, settings: dict[str, config.Fleet] | None = None) -> str:
    found = look(made, settings)
    assert len(found.problems) == 1, found.problems
    assert found.problems[0].startswith("fleet web: ")
    return found.problems[0]


def silence(made: World, instance_id: str) -> None:
    """End an instance's SSM agent."""
    machines = made.aws.hypervisor
    machines.instances[instance_id] = replace(machines.behaviour(instance_id), agent_online=False)


def test_a_good_fleet_has_neither_problems_nor_notes() -> None:
    found = look(ready())
    assert (found.problems, found.notes) == ([], [])
    preflight.insist("production", found)


def test_what_a_gate_cannot_ask_is_said_with_the_rest() -> None:
    gate = Gate(alarms=["latency"])
    settings = {"web": fleet()["web"].model_copy(update={"gate": gate})}
    assert "there is no CloudWatch alarm latency in this account and region" in problem(ready(), settings)


def test_looking_changes_nothing() -> None:
    made = ready()
    made.aws.calls.clear()
    look(made)
    actions = {row["action"] for row in made.aws.calls.table()}
    assert "DescribeAutoScalingGroups" in actions
    assert [action for action in actions if not action.startswith(("Describe", "Get"))] == []


def test_a_hook_must_outlast_the_drain_and_the_schedule() -> None:
    made = ready()
    assert "waits 900 s, but its drain.timeout is 900 s; raise" in problem(made, fleet(900))
    made.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=made.made.group, LifecycleHookName=made.made.hook, HeartbeatTimeout=300
    )
    assert "come every 300 s and its drain.timeout is 300 s" in problem(made)
    assert "come every 300 s; raise drain.heartbeat_timeout_seconds" in problem(made, fleet(60))


def test_hook_and_document_must_exist() -> None:
    made = ready()
    made.clients.ssm.delete_document(Name=DOCUMENT)
    assert f"no SSM document {DOCUMENT}; apply Terraform" in problem(made)
    made.clients.autoscaling.delete_lifecycle_hook(
        AutoScalingGroupName=made.made.group, LifecycleHookName=made.made.hook
    )
    found = look(made)
    assert len(found.problems) == 2
    assert "has no termination hook drain" in found.problems[0]
    with pytest.raises(
        PreflightError, match="production: 2 things stand in the way; nothing was changed:\n- f"
    ):
        preflight.insist("production", found)


def test_a_document_of_another_kind_is_told() -> None:
    made = ready()
    made.clients.ssm.delete_document(Name=DOCUMENT)
    made.clients.ssm.create_document(
        Name=DOCUMENT,
        Content='{"schemaVersion": "2.2", "description": "x", "mainSteps": []}',
        DocumentType="Command",
        DocumentFormat="JSON",
    )
    assert "takes no StopUnits, TimeoutSeconds" in problem(made)


def test_what_is_given_up_must_be_kept() -> None:
    made = wired_world(heartbeat_seconds=900, default_result="ABANDON")
    assert "terminates an instance whose drain is given up" in problem(made)


def test_a_dead_agent_is_a_problem_only_where_instances_are_retained() -> None:
    made = ready(3)
    victim = made.picture().counted[0].instance_id
    made.aws.clock.advance(AGENT_SECONDS)
    silence(made, victim)
    line = problem(made)
    assert f"the SSM agent of {victim} does not answer" in line
    made.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=made.made.group, LifecycleHookName=made.made.hook, DefaultResult="CONTINUE"
    )
    found = look(made, fleet(on_failure="continue"))
    assert found.problems == []
    (note,) = found.notes
    assert "is lost when it goes" in note


@pytest.mark.parametrize(
    ("says", "wanted", "notes"),
    [("ABANDON", "continue", 1), ("CONTINUE", "retain", 1), ("ABANDON", "retain", 0)],
)
def test_a_hook_that_does_something_else_by_itself_is_told(says: str, wanted: str, notes: int) -> None:
    made = ready()
    made.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=made.made.group, LifecycleHookName=made.made.hook, DefaultResult=says
    )
    found = look(made, fleet(on_failure=wanted))
    assert found.problems == []
    told = [note for note in found.notes if f"drain.on_failure is {wanted}, but hook drain ends with" in note]
    assert (len(told), len(found.notes)) == (notes, notes)


def test_an_agent_may_take_its_time_after_the_launch() -> None:
    made = ready()
    for one in made.picture().counted:
        silence(made, one.instance_id)
    found = look(made)
    assert found.problems == []
    assert any("have yet to register" in note for note in found.notes)


def test_the_vcpu_quota_has_to_hold_a_wave() -> None:
    made = ready(4)
    quota = made.aws.cloud.quotas[VCPUS]
    quota.applied = 16
    assert look(made).problems == []
    quota.applied = 15
    assert "8 Standard on-demand vCPUs run and a wave needs 8 more, the account's quota is 15" in problem(
        made
    )
    smaller = ("25%", "50%", "100%")
    made.ledger.update_fleet("web", lambda record: record.model_copy(update={"waves": smaller}))
    assert look(made).problems == []


def test_instances_of_an_earlier_run_are_not_counted_twice() -> None:
    made = ready(4)
    made.release()
    made.run(made.step(ScaleOut))
    made.settle()
    made.aws.cloud.quotas[VCPUS].applied = 16
    assert look(made).problems == []


def test_a_target_group_has_to_hold_a_wave() -> None:
    made = ready(4)
    quota = made.aws.cloud.quotas[TARGETS]
    quota.applied = 8
    assert look(made).problems == []
    quota.applied = 7
    assert "target group web has 4 targets, a wave adds 4, its quota is 7" in problem(made)


def test_quotas_that_cannot_be_read_are_said() -> None:
    made = ready()
    made.aws.cloud.quotas.clear()
    found = look(made)
    assert found.problems == []
    assert len(found.notes) == 2
    assert all("not looked at" in note and "NoSuchResourceException" in note for note in found.notes)


def test_people_are_left_alone_and_named() -> None:
    made = ready(3)
    aside = made.picture().counted[0].instance_id
    made.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=made.made.group, MinSize=2)
    made.clients.autoscaling.enter_standby(
        AutoScalingGroupName=made.made.group, InstanceIds=[aside], ShouldDecrementDesiredCapacity=True
    )
    made.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=made.made.group,
        LifecycleHookName="archive",
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
    )
    made.settle()
    found = look(made)
    assert found.problems == []
    assert any(f"{aside} in Standby is left alone" in note for note in found.notes)
    assert any("also held by archive" in note for note in found.notes)


def test_suspended_processes_stop_a_run() -> None:
    made = ready()
    made.clients.autoscaling.suspend_processes(
        AutoScalingGroupName=made.made.group, ScalingProcesses=["Launch", "AddToLoadBalancer"]
    )
    assert "has Launch, AddToLoadBalancer suspended" in problem(made)


def test_a_target_group_behind_no_load_balancer_stops_a_run() -> None:
    made = ready()
    known = made.clients.elbv2.describe_target_groups(TargetGroupArns=[made.made.target_group_arn])
    spare = made.clients.elbv2.create_target_group(
        Name="spare", Protocol="HTTP", Port=8080, VpcId=known["TargetGroups"][0]["VpcId"]
    )["TargetGroups"][0]["TargetGroupArn"]
    made.clients.autoscaling.attach_load_balancer_target_groups(
        AutoScalingGroupName=made.made.group, TargetGroupARNs=[spare]
    )
    assert "target group spare is behind no load balancer" in problem(made)


def test_an_image_named_by_a_parameter_stops_a_run() -> None:
    made = ready()
    made.release("resolve:ssm:/images/web")
    assert "names its image by a parameter" in problem(made)


def test_a_group_that_is_not_there_yet_is_no_problem() -> None:
    made = ready()
    made.ledger.update_fleet("web", lambda record: record.model_copy(update={"group": "production-new"}))
    found = look(made)
    assert found.problems == []
    assert found.notes == ["fleet web: production-new does not exist yet; the plan makes it"]


@pytest.mark.parametrize(
    ("live", "waves", "step"),
    [
        (4, ("100%",), 4),
        (0, ("100%",), 0),
        (10, ("1", "25%", "100%"), 7),
        (10, ("50%", "100%"), 5),
        (3, ("1", "2", "100%"), 1),
        (2, ("5", "100%"), 2),
    ],
)
def test_the_largest_step_is_what_is_launched_at_once(live: int, waves: tuple[str, ...], step: int) -> None:
    assert largest_step(live, waves) == step
