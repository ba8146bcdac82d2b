"""Launches that fail, machines that are sick, and what happens to fleets, as AWS shows it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.faults.errors import FaultSettingError
from sandbox.faults.launches import MESSAGES
from sandbox.model.autoscaling.state import Member
from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import Fleet, make_fleet

DOCUMENT = {
    "schemaVersion": "2.2",
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "run",
            "inputs": {"timeoutSeconds": "60", "runCommand": ["true"]},
        }
    ],
}


class Scene:
    """A fleet of four that serves, and short ways to look at it."""

    def __init__(self, seed: int = 1) -> None:
        self.aws: VirtualAccount = virtual_account(seed=seed)
        self.image = self.aws.image("app")
        self.fleet: Fleet = make_fleet(self.aws, image_id=self.image, size=4, maximum=12)
        self.autoscaling = self.aws.client("autoscaling")
        self.aws.clock.advance(120)
        assert self.healthy() == 4

    def advance(self, seconds: float) -> None:
        self.aws.clock.advance(seconds)

    def group(self) -> dict[str, Any]:
        found: dict[str, Any] = self.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
        return found

    def members(self) -> list[Member]:
        # Looked up in the model itself: these are asked again and again.
        return list(self.aws.account.groups.get(self.fleet.group).members.values())

    def ids(self) -> list[str]:
        return [each.instance_id for each in self.members()]

    def serving(self) -> set[str]:
        return {each.instance_id for each in self.members() if each.state == "InService"}

    def zones(self) -> Counter[str]:
        return Counter(each.zone for each in self.members() if each.state == "InService")

    def healthy(self) -> int:
        states = [each.state for each in self.aws.account.targets.health(self.fleet.target_group_arn)]
        return states.count("healthy")

    def reasons(self) -> set[str]:
        return {each.reason for each in self.aws.account.targets.health(self.fleet.target_group_arn)}

    def activities(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.autoscaling.describe_scaling_activities()["Activities"]
        return found

    def scale(self, desired: int) -> None:
        self.autoscaling.set_desired_capacity(AutoScalingGroupName=self.fleet.group, DesiredCapacity=desired)

    def until(self, condition: Callable[[], bool], limit: float = 1800) -> None:
        began = self.aws.clock.now()
        while not condition():
            assert self.aws.clock.now() - began < limit, [self.zones(), self.healthy(), self.group()]
            self.advance(2)

    def run_command(self, ids: list[str]) -> dict[str, str]:
        ssm = self.aws.client("ssm")
        if not ssm.list_documents(Filters=[{"Key": "Owner", "Values": ["Self"]}])["DocumentIdentifiers"]:
            ssm.create_document(Name="run", Content=json.dumps(DOCUMENT), DocumentType="Command")
        sent = ssm.send_command(DocumentName="run", InstanceIds=ids, MaxErrors="100%", TimeoutSeconds=30)
        command = sent["Command"]["CommandId"]
        self.advance(300)
        found = ssm.list_command_invocations(CommandId=command)["CommandInvocations"]
        return {each["InstanceId"]: each["StatusDetails"] for each in found}


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize("code", sorted(MESSAGES))
def test_a_refused_launch_is_a_failed_activity_in_ec2s_words(scene: Scene, code: str) -> None:
    scene.aws.faults.set(fault="launch-failure", code=code, count=2)
    scene.scale(5)
    scene.advance(3)
    failed = [each for each in scene.activities() if each["StatusCode"] == "Failed"]
    words = MESSAGES[code].split("{")[0].rstrip(".' ")
    assert failed
    for each in failed:
        assert each["StatusMessage"].startswith(words)
        assert each["StatusMessage"].endswith(". Launching EC2 instance failed.")
        assert each["Description"] == f"Launching a new EC2 instance.  Status Reason: {each['StatusMessage']}"
    scene.until(lambda: scene.healthy() == 5)


def test_a_launch_fault_may_be_for_one_group_image_type_or_zone(scene: Scene) -> None:
    faults = scene.aws.faults
    faults.set(fault="launch-failure", group="other")
    faults.set(fault="launch-failure", image="ami-0")
    faults.set(fault="launch-failure", instance_type="m5.large")
    faults.set(fault="launch-failure", zone="ap-northeast-1b")
    scene.scale(8)
    scene.advance(120)
    assert scene.healthy() == 8
    assert [each["hits"] for each in faults.list()] == [0, 0, 0, 0]


def test_run_instances_is_refused_as_well(scene: Scene) -> None:
    scene.aws.faults.set(fault="launch-failure", code="VcpuLimitExceeded")
    with pytest.raises(ClientError) as error:
        scene.aws.client("ec2").run_instances(
            ImageId=scene.image, MinCount=1, MaxCount=1, SubnetId=scene.fleet.subnet_ids[0]
        )
    assert error.value.response["Error"]["Code"] == "VcpuLimitExceeded"


def test_an_instance_that_cannot_boot_is_a_cancelled_launch(scene: Scene) -> None:
    scene.aws.faults.set(
        fault="boot-failure",
        image=scene.image,
        reason="Client.InternalError: Client error on launch",
        count=1,
    )
    scene.scale(5)
    scene.until(lambda: scene.healthy() == 5)
    (cancelled,) = [each for each in scene.activities() if each["StatusCode"] == "Cancelled"]
    assert cancelled["StatusMessage"] == (
        "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "
        "Client.InternalError: Client error on launch"
    )


@pytest.mark.parametrize(
    "reason", ["Target.FailedHealthChecks", "Target.ResponseCodeMismatch", "Target.Timeout"]
)
def test_an_image_never_gets_healthy(scene: Scene, reason: str) -> None:
    number = scene.aws.faults.set(fault="unhealthy", image=scene.image, reason=reason)
    scene.until(lambda: reason in scene.reasons())
    scene.advance(60)
    assert scene.healthy() == 0
    scene.aws.faults.clear(number)
    scene.until(lambda: scene.healthy() == 4)


def test_an_unhealthy_instance_is_replaced(scene: Scene) -> None:
    sick = scene.ids()[0]
    scene.aws.faults.set(fault="unhealthy", instance=sick)
    scene.until(lambda: sick not in scene.ids() and scene.healthy() == 4)
    assert any("ELB system health check failure" in each["Cause"] for each in scene.activities())


def test_ssm_refuses_a_command_while_an_agent_is_dead(scene: Scene) -> None:
    dead, *others = scene.ids()
    number = scene.aws.faults.set(fault="dead-agent", instance=dead)
    ping = {
        each["InstanceId"]: each["PingStatus"]
        for each in scene.aws.client("ssm").describe_instance_information()["InstanceInformationList"]
    }
    assert ping == {dead: "ConnectionLost"} | dict.fromkeys(others, "Online")
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        scene.run_command([dead, *others])
    scene.aws.faults.clear(number)
    assert scene.run_command([dead]) == {dead: "Success"}


def test_an_agent_that_dies_at_work_never_reports(scene: Scene) -> None:
    (instance_id, *_) = scene.ids()
    scene.aws.hypervisor.default.command_seconds = 20
    scene.aws.clock.call_later(10, lambda: scene.aws.faults.set(fault="dead-agent", instance=instance_id))
    assert scene.run_command([instance_id]) == {instance_id: "ExecutionTimedOut"}


def test_commands_fail_on_some_of_many_and_hang_on_one(scene: Scene) -> None:
    ids = scene.ids()
    scene.aws.faults.set(fault="hung-command", instance=ids[0])
    scene.aws.faults.set(fault="failed-command", count=2, status=3, error="buffer is locked")
    found = scene.run_command(ids)
    assert found[ids[0]] == "ExecutionTimedOut"
    assert Counter(found.values()) == {"ExecutionTimedOut": 1, "Failed": 2, "Success": 1}


def test_a_hung_command_can_be_cancelled(scene: Scene) -> None:
    (instance_id, *_) = scene.ids()
    ssm = scene.aws.client("ssm")
    scene.aws.faults.set(fault="hung-command")
    ssm.create_document(Name="run", Content=json.dumps(DOCUMENT), DocumentType="Command")
    command = ssm.send_command(DocumentName="run", InstanceIds=[instance_id])["Command"]["CommandId"]
    scene.advance(5)
    ssm.cancel_command(CommandId=command)
    scene.advance(1)
    found = ssm.get_command_invocation(CommandId=command, InstanceId=instance_id)
    assert found["Status"] == "Cancelled"


def test_an_unreachable_instance_is_replaced_for_its_status_checks(scene: Scene) -> None:
    gone = scene.ids()[0]
    scene.aws.faults.set(fault="unreachable", instance=gone)
    scene.advance(60)
    scene.until(lambda: gone not in scene.ids() and scene.healthy() == 4)
    assert any(
        "an EC2 instance status check failure" in each["Cause"] or "ELB system" in each["Cause"]
        for each in scene.activities()
    )


def test_ec2_says_whose_status_checks_fail(scene: Scene) -> None:
    gone, *others = scene.ids()
    scene.aws.faults.set(fault="unreachable", instance=gone)
    found = scene.aws.client("ec2").describe_instance_status()["InstanceStatuses"]
    assert {each["InstanceId"]: each["InstanceStatus"]["Status"] for each in found} == {
        gone: "impaired"
    } | dict.fromkeys(others, "ok")


def test_status_checks_count_where_no_load_balancer_is_asked(scene: Scene) -> None:
    scene.autoscaling.update_auto_scaling_group(AutoScalingGroupName=scene.fleet.group, HealthCheckType="EC2")
    gone = scene.ids()[0]
    scene.aws.faults.set(fault="unreachable", instance=gone)
    scene.until(lambda: gone not in scene.ids() and scene.healthy() == 4)
    assert any("an EC2 instance status check failure" in each["Cause"] for each in scene.activities())


def test_a_zone_is_lost_and_comes_back(scene: Scene) -> None:
    zone, other = sorted(scene.zones())
    assert scene.zones() == {zone: 2, other: 2}
    number = scene.aws.faults.set(fault="lost-zone", zone=zone)
    scene.until(lambda: scene.zones() == {other: 4} and scene.healthy() == 4)
    assert any(
        each["StatusCode"] == "Failed" and f"({zone})" in each["StatusMessage"] for each in scene.activities()
    )
    scene.aws.faults.clear(number)
    scene.until(lambda: scene.zones() == {zone: 2, other: 2})


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("stopped", "EC2 health check indicating it has been terminated or stopped"),
        ("terminated", "EC2 health check indicating it has been terminated or stopped"),
    ],
)
def test_an_instance_dies_and_is_replaced(scene: Scene, how: str, cause: str) -> None:
    victim = scene.ids()[2]
    scene.aws.faults.set(fault="death", instance=victim, how=how)
    assert scene.aws.faults.list() == []
    assert scene.healthy() == 3
    scene.until(lambda: victim not in scene.ids() and scene.healthy() == 4)
    assert any(cause in each["Cause"] for each in scene.activities())


def test_instances_of_a_group_die_one_after_another_until_that_is_cleared(scene: Scene) -> None:
    before = set(scene.ids())
    number = scene.aws.faults.set(fault="death", group="web", every=200, after=100)
    scene.advance(99)
    assert set(scene.ids()) == before
    scene.advance(301)
    assert scene.aws.faults.list()[0]["hits"] == 2
    scene.aws.faults.clear(number)
    scene.until(lambda: scene.healthy() == 4)
    assert scene.aws.faults.list() == []
    serving = scene.serving()
    scene.advance(1000)
    assert scene.serving() == serving != before


def warnings_queue(aws: VirtualAccount) -> str:
    """Have EventBridge send interruption warnings to a queue; return its URL."""
    sqs, events = aws.client("sqs"), aws.client("events")
    pattern = {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
    rule = events.put_rule(Name="spot", EventPattern=json.dumps(pattern))["RuleArn"]
    queue = str(sqs.create_queue(QueueName="warnings")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    events.put_targets(Rule="spot", Targets=[{"Id": "1", "Arn": arn}])
    return queue


def test_a_spot_interruption_warns_two_minutes_ahead(scene: Scene) -> None:
    sqs = scene.aws.client("sqs")
    queue = warnings_queue(scene.aws)
    victim = scene.ids()[0]
    scene.aws.faults.set(fault="spot-interruption", instance=victim)
    scene.advance(5)
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(message["Body"])["detail"] == {"instance-id": victim, "instance-action": "terminate"}
    ec2 = scene.aws.client("ec2")

    def state() -> dict[str, Any]:
        found: dict[str, Any] = ec2.describe_instances(InstanceIds=[victim])["Reservations"][0]["Instances"][
            0
        ]
        return found

    scene.advance(114)
    assert state()["State"]["Name"] == "running"
    scene.advance(10)
    assert state()["State"]["Name"] == "terminated"
    assert state()["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    scene.until(lambda: victim not in scene.ids() and scene.healthy() == 4)


def test_a_policy_changes_desired_within_the_limits(scene: Scene) -> None:
    scene.aws.faults.set(fault="scaling-policy", group="web", by=2, policy="on-load")
    assert scene.group()["DesiredCapacity"] == 6
    scene.until(lambda: scene.healthy() == 6)
    assert any(
        "in state ALARM triggered policy on-load changing the desired capacity from 4 to 6" in each["Cause"]
        for each in scene.activities()
    )
    scene.aws.faults.set(fault="scaling-policy", group="web", to=1)
    assert scene.group()["DesiredCapacity"] == 4


def test_a_policy_tries_again_and_again(scene: Scene) -> None:
    scene.scale(6)
    scene.aws.faults.set(fault="scaling-policy", group="web", to=4, every=10)
    for _ in range(3):
        scene.scale(6)
        scene.advance(11)
        assert scene.group()["DesiredCapacity"] == 4


def test_no_alarm_reaches_a_group_whose_alarms_are_suspended(scene: Scene) -> None:
    scene.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AlarmNotification"])
    scene.aws.faults.set(fault="scaling-policy", group="web", by=2)
    assert scene.group()["DesiredCapacity"] == 4


def test_a_seed_repeats_whom_it_hits() -> None:
    runs = []
    for seed in (3, 3, 4):
        scene = Scene(seed=seed)
        scene.aws.faults.set(fault="launch-failure", rate=0.5, code="InternalError")
        scene.aws.faults.set(fault="death", group="web", every=50, count=5)
        scene.scale(8)
        scene.advance(900)
        runs.append([(each["StatusCode"], each["StartTime"]) for each in scene.activities()])
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        (
            {"fault": "launch-failure", "code": "Oops"},
            "code is 'Oops', whose words are not known",
        ),
        ({"fault": "unhealthy", "reason": "Oops"}, "reason is 'Oops', expected one of Target.Fa"),
        ({"fault": "dead-agent", "rate": 0.5}, "fault dead-agent has no field rate; its fields are group, "),
        ({"fault": "lost-zone"}, "fault lost-zone needs zone"),
        ({"fault": "death"}, "fault death needs either instance or group"),
        ({"fault": "death", "instance": "i-1", "group": "web"}, "fault death needs either instance or group"),
        ({"fault": "death", "instance": "i-1"}, "instance is 'i-1', but no such instance is there"),
        ({"fault": "death", "group": "api"}, "group is 'api', but the Auto Scaling groups are: web"),
        ({"fault": "death", "group": "web", "count": 2}, "fault death has count 2, but no every"),
        ({"fault": "death", "group": "web", "every": 0}, "every is 0, expected seconds, more than 0"),
        ({"fault": "scaling-policy", "group": "web"}, "fault scaling-policy needs group, and either by"),
        ({"fault": "scaling-policy", "group": "web", "by": 1, "to": 2}, "either by (a difference) or to"),
        ({"fault": "scaling-policy", "group": "web", "by": 1.5}, "by is 1.5, expected a whole number"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(scene: Scene, setting: dict[str, Any], says: str) -> None:
    with pytest.raises(FaultSettingError) as error:
        scene.aws.faults.set(setting)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert scene.aws.faults.list() == []
