"""Faults of API calls, as boto3 meets them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.retries import standard

from sandbox.faults.errors import FaultSettingError, NoAnswerError
from sandbox.faults.refusals import THROTTLED
from sandbox.model.errors import ServiceError
from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import make_fleet

OURS, THEIRS = "AKIAOURS000000000000", "AKIATHEIRS0000000000"


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


def refused(call: Any, **params: Any) -> tuple[str, int]:
    """Make a call that is refused; return the error's code and HTTP status."""
    with pytest.raises(ClientError) as error:
        call(**params)
    response = error.value.response
    return str(response["Error"]["Code"]), int(response["ResponseMetadata"]["HTTPStatusCode"])


def outcomes(aws: VirtualAccount, number: int) -> list[bool]:
    """Call a number of times; tell which calls were answered."""
    client = aws.client("sts")
    answered = []
    for _ in range(number):
        try:
            client.get_caller_identity()
        except ClientError:
            answered.append(False)
        else:
            answered.append(True)
    return answered


READS: dict[str, tuple[str, dict[str, Any]]] = {
    "autoscaling": ("describe_auto_scaling_groups", {}),
    "cloudwatch": ("describe_alarms", {}),
    "ec2": ("describe_instances", {}),
    "elbv2": ("describe_load_balancers", {}),
    "events": ("list_rules", {}),
    "iam": ("list_roles", {}),
    "kms": ("list_keys", {}),
    "logs": ("describe_log_groups", {}),
    "resourcegroupstaggingapi": ("get_resources", {}),
    "s3": ("list_buckets", {}),
    "secretsmanager": ("list_secrets", {}),
    "sns": ("list_topics", {}),
    "sqs": ("list_queues", {}),
    "ssm": ("describe_instance_information", {}),
    "sts": ("get_caller_identity", {}),
}


@pytest.mark.parametrize("service", sorted(READS))
def test_every_service_throttles_in_its_own_words(aws: VirtualAccount, service: str) -> None:
    aws.faults.set(fault="throttle", action=f"{service}:*")
    method, params = READS[service]
    code, _message, status = THROTTLED[service]
    assert refused(getattr(aws.client(service), method), **params) == (code, status)


@pytest.mark.parametrize("service", sorted(READS))
@pytest.mark.parametrize(("fault", "status"), [("error", 500), ("unavailable", 503)])
def test_every_service_fails_with_its_status(
    aws: VirtualAccount, service: str, fault: str, status: int
) -> None:
    aws.faults.set(fault=fault, action=f"{service}:*")
    method, params = READS[service]
    assert refused(getattr(aws.client(service), method), **params)[1] == status


def test_botocore_tries_every_throttled_call_again(aws: VirtualAccount) -> None:
    # Its own list of what is worth another try; so no code above is one that clients would take for final.
    codes = set(vars(standard.ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"])
    assert {code for code, _message, _status in THROTTLED.values()} <= codes


def test_a_rate_hits_its_share_and_a_seed_repeats_it() -> None:
    runs = []
    for seed in (7, 7, 8):
        aws = virtual_account(seed=seed)
        aws.faults.set({"action": "sts:GetCallerIdentity", "rate": 0.2, "fault": "throttle"})
        runs.append(outcomes(aws, 200))
    assert runs[0] == runs[1] != runs[2]
    assert 20 <= runs[0].count(False) <= 60


def test_a_fault_hits_the_next_calls_after_those_it_lets_pass(aws: VirtualAccount) -> None:
    aws.faults.set(fault="throttle", action="sts:*", skip=2, count=3)
    assert outcomes(aws, 7) == [True, True, False, False, False, True, True]
    assert aws.faults.list() == []


def test_a_fault_may_be_for_one_principal(aws: VirtualAccount) -> None:
    aws.faults.set(fault="throttle", action="*", principal="AKIAOURS*")
    assert refused(aws.client("sts", principal=OURS).get_caller_identity)[0] == "Throttling"
    assert aws.client("sts", principal=THEIRS).get_caller_identity()["Account"]


def test_an_error_may_be_any(aws: VirtualAccount) -> None:
    aws.faults.set(fault="error", action="s3:PutObject", code="AccessDenied", message="No.", status=403)
    assert refused(aws.client("s3").put_object, Bucket="state", Key="x") == ("AccessDenied", 403)


def test_a_lost_call_was_done_and_a_dropped_one_was_not(aws: VirtualAccount) -> None:
    fleet = make_fleet(aws, image_id=aws.image("app"), size=2, maximum=9)
    autoscaling = aws.client("autoscaling")

    def sizes() -> tuple[int, int]:
        group = autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]
        return group["MinSize"], group["MaxSize"]

    aws.faults.set(fault="dropped", action="autoscaling:UpdateAutoScalingGroup", count=1)
    aws.faults.set(fault="lost", action="autoscaling:UpdateAutoScalingGroup", count=1)
    with pytest.raises(ConnectionClosedError):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=3)
    assert sizes() == (2, 9)
    with pytest.raises(ConnectionClosedError):
        autoscaling.update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=3)
    assert sizes() == (3, 9)


def test_a_refusal_is_lost_as_any_answer_is(aws: VirtualAccount) -> None:
    aws.faults.set(fault="lost", action="autoscaling:SetDesiredCapacity")

    def refuse() -> None:
        raise ServiceError("ValidationError", "no such group")

    with pytest.raises(NoAnswerError):
        aws.faults.around("autoscaling", "SetDesiredCapacity", OURS, refuse)
    with pytest.raises(ConnectionClosedError):
        aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName="none", DesiredCapacity=1)


def test_an_answer_that_is_lost_late_is_a_read_timeout(aws: VirtualAccount) -> None:
    aws.faults.set(fault="lost", action="sts:GetCallerIdentity", seconds=70)
    began = aws.clock.now()
    with pytest.raises(ReadTimeoutError):
        aws.client("sts").get_caller_identity()
    assert aws.clock.now() - began == 70


def test_a_slow_call_takes_its_time_and_is_answered(aws: VirtualAccount) -> None:
    aws.faults.set(fault="slow", action="sts:*", seconds=3)
    began = aws.clock.now()
    assert aws.client("sts").get_caller_identity()["Account"]
    assert aws.clock.now() - began == 3


def test_a_stale_describe_shows_what_was_some_seconds_ago(aws: VirtualAccount) -> None:
    fleet = make_fleet(aws, image_id=aws.image("app"), size=2, maximum=9)
    autoscaling = aws.client("autoscaling")

    def minimum() -> int:
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.group])
        return int(found["AutoScalingGroups"][0]["MinSize"])

    aws.faults.set(fault="stale", action="autoscaling:Describe*", seconds=10)
    assert minimum() == 2
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=3)
    assert minimum() == 2
    aws.clock.advance(9)
    assert minimum() == 2
    aws.clock.advance(2)
    assert minimum() == 3


def test_s3_is_never_stale(aws: VirtualAccount) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    aws.faults.set(fault="stale", action="*", seconds=100)
    for body in (b"1", b"2"):
        s3.put_object(Bucket="state", Key="journal", Body=body)
        assert s3.get_object(Bucket="state", Key="journal")["Body"].read() == body


def test_throttled_calls_are_counted_and_dropped_ones_never_arrived(aws: VirtualAccount) -> None:
    aws.faults.set(fault="throttle", action="sts:*", count=1)
    aws.faults.set(fault="dropped", action="sts:*", count=1)
    client = aws.client("sts")
    with pytest.raises(ClientError):
        client.get_caller_identity()
    with pytest.raises(ConnectionClosedError):
        client.get_caller_identity()
    assert aws.calls.count("sts", "GetCallerIdentity") == 1


def test_faults_are_listed_and_cleared(aws: VirtualAccount) -> None:
    first = aws.faults.set(fault="throttle", action="sts:*", count=2)
    second = aws.faults.set(fault="slow", action="*", seconds=1, rate=0.5, principal=OURS)
    outcomes(aws, 1)
    assert aws.faults.list() == [
        {
            "id": first,
            "fault": "throttle",
            "action": "sts:*",
            "count": 1,
            "hits": 1,
            "principal": "*",
            "rate": 1.0,
            "skip": 0,
        },
        {
            "id": second,
            "fault": "slow",
            "action": "*",
            "hits": 0,
            "principal": OURS,
            "rate": 0.5,
            "seconds": 1.0,
            "skip": 0,
        },
    ]
    aws.faults.clear(first)
    assert [each["id"] for each in aws.faults.list()] == [second]
    aws.faults.clear()
    assert aws.faults.list() == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({}, "fault is None, expected one of boot-failure, dead-agent, "),
        ({"fault": "oops"}, "fault is 'oops', expected one of boot-failure, dead-agent, "),
        ({"fault": "throttle"}, "fault throttle needs action"),
        ({"fault": "throttle", "action": "autoscaling"}, "action is 'autoscaling', expected service:Action"),
        ({"fault": "throttle", "action": "nonsense:*"}, "there is no service nonsense"),
        ({"fault": "throttle", "action": "ec2:Nonsense*"}, "ec2 has no such action"),
        ({"fault": "throttle", "action": "*", "rate": 2}, "rate is 2, expected a number above 0 and up to 1"),
        ({"fault": "throttle", "action": "*", "rate": "0.2"}, "rate is '0.2', expected a number"),
        ({"fault": "throttle", "action": "*", "count": 0}, "count is 0, expected a whole number, 1 or more"),
        ({"fault": "throttle", "action": "*", "count": True}, "count is True, expected a whole number"),
        (
            {"fault": "throttle", "action": "*", "seconds": 3},
            "fault throttle has no field seconds",
        ),
        ({"fault": "slow", "action": "*"}, "fault slow needs seconds, more than 0"),
        (
            {"fault": "stale", "action": "s3:GetObject", "seconds": 3},
            "answers that service's reads",
        ),
        ({"fault": "error", "action": "*", "status": 700}, "status is 700, expected an HTTP status"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(
    aws: VirtualAccount, setting: dict[str, Any], says: str
) -> None:
    with pytest.raises(FaultSettingError) as error:
        aws.faults.set(setting)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert aws.faults.list() == []


def test_a_fault_that_is_not_there_cannot_be_cleared(aws: VirtualAccount) -> None:
    with pytest.raises(FaultSettingError, match="there is no fault 4; those set are none"):
        aws.faults.clear(4)
