"""Events reach queues and topics by their rules' patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import make_fleet


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


def queue(aws: VirtualAccount, name: str) -> tuple[str, str]:
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    return url, found["QueueArn"]


def open_queue(aws: VirtualAccount, name: str, rule: str) -> tuple[str, str]:
    """Make a queue whose policy lets a rule send, as Terraform's module drain writes it."""
    url, arn = queue(aws, name)
    allow(aws, url, statement("sqs:SendMessage", arn, source(rule)))
    return url, arn


def source(rule: str) -> dict[str, Any]:
    return {"ArnEquals": {"aws:SourceArn": f"arn:aws:events:ap-northeast-1:123456789012:rule/{rule}"}}


def statement(action: str, resource: str, condition: dict[str, Any] | None = None) -> dict[str, Any]:
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": action,
        "Resource": resource,
    }
    return allowed | ({"Condition": condition} if condition else {})


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(aws: VirtualAccount, url: str, *statements: dict[str, Any]) -> None:
    aws.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy(*statements)})


def bodies(aws: VirtualAccount, url: str) -> list[dict[str, Any]]:
    found = aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


def test_a_termination_reaches_queue_and_topic(aws: VirtualAccount) -> None:
    # Source: EventBridge user guide, "AWS service event metadata"; Auto Scaling user guide,
    # "EC2 Auto Scaling events", EC2 Instance-terminate Lifecycle Action
    events, sns = aws.client("events"), aws.client("sns")
    direct, direct_arn = open_queue(aws, "direct", "terminations")
    told, told_arn = queue(aws, "told")
    topic = sns.create_topic(Name="terminations")["TopicArn"]
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=policy(statement("sns:Publish", topic))
    )
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=told_arn)
    pattern = {
        "source": ["aws.autoscaling"],
        "detail-type": ["EC2 Instance-terminate Lifecycle Action"],
        "detail": {"AutoScalingGroupName": ["web"]},
    }
    events.put_rule(Name="terminations", EventPattern=json.dumps(pattern))
    targets = [{"Id": "queue", "Arn": direct_arn}, {"Id": "topic", "Arn": topic}]
    events.put_targets(Rule="terminations", Targets=targets)
    make_fleet(aws, image_id=aws.image("app"), size=1, group={})
    aws.clock.advance(60)
    assert bodies(aws, direct) == []
    autoscaling = aws.client("autoscaling")
    instance_id = autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"][0]["InstanceId"]
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
    )
    aws.clock.advance(30)
    (event,) = bodies(aws, direct)
    assert event["detail"]["EC2InstanceId"] == instance_id
    assert event["detail"]["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert event["account"] == "123456789012"
    assert event["region"] == "ap-northeast-1"
    assert event["time"].startswith("2026-01-01T00:0")
    assert json.loads(bodies(aws, told)[0]["Message"])["id"] == event["id"]


def test_clients_may_put_their_own_events_only(aws: VirtualAccount) -> None:
    url, arn = open_queue(aws, "q", "mine")
    events = aws.client("events")
    events.put_rule(Name="mine", EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule="mine", Targets=[{"Id": "q", "Arn": arn}])
    entries = [{"Source": source, "DetailType": "x", "Detail": '{"a": 1}'} for source in ("mine", "aws.ec2")]
    answer = events.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 1
    assert [event["source"] for event in bodies(aws, url)] == ["mine"]


def test_a_disabled_rule_delivers_nothing(aws: VirtualAccount) -> None:
    url, arn = open_queue(aws, "q", "mine")
    events = aws.client("events")
    events.put_rule(Name="mine", EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule="mine", Targets=[{"Id": "q", "Arn": arn}])
    events.disable_rule(Name="mine")
    events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert bodies(aws, url) == []


def test_what_is_not_delivered_is_refused(aws: VirtualAccount) -> None:
    events = aws.client("events")
    with pytest.raises(ClientError, match="does not model"):
        events.put_rule(Name="clock", ScheduleExpression="rate(5 minutes)")
    events.put_rule(Name="mine", EventPattern=json.dumps({"source": ["mine"]}))
    function = "arn:aws:lambda:ap-northeast-1:123456789012:function:f"
    with pytest.raises(ClientError, match="does not model"):
        events.put_targets(Rule="mine", Targets=[{"Id": "f", "Arn": function}])
    role = {"Id": "q", "Arn": queue(aws, "q")[1], "RoleArn": "arn:aws:iam::123456789012:role/r"}
    with pytest.raises(ClientError, match="does not model"):
        events.put_targets(Rule="mine", Targets=[role])


def put_one(aws: VirtualAccount, target: str) -> None:
    """Let the rule `mine` deliver one event to a target."""
    events = aws.client("events")
    events.put_rule(Name="mine", EventPattern=json.dumps({"source": ["mine"]}))
    events.put_targets(Rule="mine", Targets=[{"Id": "t", "Arn": target}])
    answer = events.put_events(Entries=[{"Source": "mine", "DetailType": "x", "Detail": "{}"}])
    assert answer["FailedEntryCount"] == 0  # who puts an event never hears of its targets


def test_a_queue_without_a_policy_gets_nothing(aws: VirtualAccount, caplog: pytest.LogCaptureFixture) -> None:
    url, arn = queue(aws, "q")
    put_one(aws, arn)
    assert bodies(aws, url) == []
    assert aws.cloud.bus.failed_invocations == {"mine": 1}
    assert (
        f"failed to invoke {arn}: its policy does not let events.amazonaws.com sqs:SendMessage" in caplog.text
    )


@pytest.mark.parametrize(
    "change",
    [
        {"Action": "sqs:ReceiveMessage"},
        {"Principal": {"Service": "sns.amazonaws.com"}},
        {"Principal": {"AWS": "123456789012"}},
        {"Resource": "arn:aws:sqs:ap-northeast-1:123456789012:other"},
        {"Condition": source("other")},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}},
        {"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Effect": "Deny"},
    ],
)
def test_a_policy_for_something_else_does_not_help(aws: VirtualAccount, change: dict[str, Any]) -> None:
    url, arn = queue(aws, "q")
    allow(aws, url, statement("sqs:SendMessage", arn, source("mine")) | change)
    put_one(aws, arn)
    assert bodies(aws, url) == []
    assert aws.cloud.bus.failed_invocations["mine"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"Action": ["SQS:Send*"]},
        {"Principal": "*"},
        {"Principal": {"Service": ["s3.amazonaws.com", "events.amazonaws.com"]}},
        {"Resource": "*"},
        {"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:events:*:123456789012:rule/m*"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": ["1", "123456789012"]}}},
        {"Condition": {"StringNotEquals": {"aws:SourceAccount": "999999999999"}}},
    ],
)
def test_what_a_policy_allows_in_other_words_is_allowed(aws: VirtualAccount, change: dict[str, Any]) -> None:
    url, arn = queue(aws, "q")
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    refusal = {"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": insecure}
    allow(aws, url, statement("sqs:SendMessage", arn) | change, refusal)
    put_one(aws, arn)
    assert len(bodies(aws, url)) == 1
    assert not aws.cloud.bus.failed_invocations


def test_a_refusal_wins_over_what_allows(aws: VirtualAccount) -> None:
    url, arn = queue(aws, "q")
    allowed = statement("sqs:SendMessage", arn)
    allow(aws, url, allowed, allowed | {"Effect": "Deny"})
    put_one(aws, arn)
    assert bodies(aws, url) == []


def test_a_topic_takes_no_condition_and_its_own_policy_is_for_its_account_alone(aws: VirtualAccount) -> None:
    # Source: EventBridge user guide, "Using resource-based policies for Amazon EventBridge"
    sns = aws.client("sns")
    url, arn = queue(aws, "told")
    topic = sns.create_topic(Name="t")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    put_one(aws, topic)
    for condition, delivered in ((source("mine"), 0), (None, 1)):
        text = policy(statement("sns:Publish", topic, condition))
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=text)
        put_one(aws, topic)
        assert len(bodies(aws, url)) == delivered
    assert aws.cloud.bus.failed_invocations["mine"] == 2


def test_a_target_that_is_gone_harms_nobody_else(aws: VirtualAccount) -> None:
    put_one(aws, "arn:aws:sqs:ap-northeast-1:123456789012:gone")
    assert aws.cloud.bus.failed_invocations["mine"] == 1
