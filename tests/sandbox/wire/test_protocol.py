"""The account's API as AWS clients see it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway.addresses import Addresses, listening
from sandbox.wire.identify import tool_of
from sandbox.wire.inprocess import VirtualAccount, virtual_account


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_each_virtual_account_is_empty(aws: VirtualAccount) -> None:
    aws.client("s3").create_bucket(
        Bucket="first", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    aws.image("app")
    fresh = virtual_account(seed=2)
    assert fresh.client("s3").list_buckets()["Buckets"] == []
    assert fresh.client("ec2").describe_images(Owners=["self"])["Images"] == []
    assert fresh.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_auto_scaling_leaves_nothing_to_moto(aws: VirtualAccount) -> None:
    with pytest.raises(ClientError) as error:
        aws.client("autoscaling").start_instance_refresh(AutoScalingGroupName="web")
    assert code(error) == "InvalidAction"
    assert "does not model" in error.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "method", "params"),
    [
        ("ec2", "describe_reserved_instances_modifications", {}),
        ("ec2", "reboot_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
        ("ssm", "start_automation_execution", {"DocumentName": "x"}),
        ("dynamodb", "list_tables", {}),
        ("elb", "describe_load_balancers", {}),
    ],
)
def test_what_is_not_modelled_is_refused_with_a_client_error(
    aws: VirtualAccount, service: str, method: str, params: dict[str, object]
) -> None:
    with pytest.raises(ClientError) as error:
        getattr(aws.client(service), method)(**params)
    # A 5xx would be tried again by every client.
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_calls_are_counted_by_action_and_principal(aws: VirtualAccount) -> None:
    aws.client("ec2", principal="AKIAFIRST00000000000").describe_instances()
    aws.client("ec2", principal="AKIASECOND0000000000").describe_instances()
    aws.client("s3", principal="AKIAFIRST00000000000").list_buckets()
    assert aws.calls.count("ec2", "DescribeInstances") == 2
    assert aws.calls.count("ec2", "DescribeInstances", "AKIAFIRST00000000000") == 1
    assert {
        "service": "s3",
        "action": "ListBuckets",
        "principal": "AKIAFIRST00000000000",
        "tool": "boto3",
        "status": 200,
        "calls": 1,
    } in aws.calls.table()


@pytest.mark.parametrize(
    ("user_agent", "tool"),
    [
        ("Boto3/1.43.1 md/Botocore#1.43.1 ua/2.1", "boto3"),
        (
            "APN/1.0 HashiCorp/1.0 Packer/1.6.6 (+https://www.packer.io/) aws-sdk-go/1.34",
            "packer",
        ),
        (
            "APN/1.0 HashiCorp/1.0 Terraform/1.11.4 (+https://www.terraform.io) aws-sdk/1",
            "terraform",
        ),
        ("[Boto3/1.40]", "unknown"),
        ("", "unknown"),
    ],
)
def test_calls_are_counted_by_tool(user_agent: str, tool: str) -> None:
    assert tool_of(user_agent) == tool


def test_s3_writes_conditionally(aws: VirtualAccount) -> None:
    # Source: S3 user guide, "How to prevent object overwrites with conditional writes"
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="journal", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    first = s3.put_object(Bucket="journal", Key="a/b c.json", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="journal", Key="a/b c.json", Body=b"2", IfNoneMatch="*")
    assert code(error) == "PreconditionFailed"
    s3.put_object(Bucket="journal", Key="a/b c.json", Body=b"3", IfMatch=first["ETag"])
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="journal", Key="a/b c.json", Body=b"4", IfMatch=first["ETag"])
    assert code(error) == "PreconditionFailed"
    assert s3.get_object(Bucket="journal", Key="a/b c.json")["Body"].read() == b"3"
    assert s3.head_object(Bucket="journal", Key="a/b c.json")["ContentLength"] == 1


def test_a_long_poll_does_not_wait_on_a_virtual_clock(aws: VirtualAccount) -> None:
    sqs = aws.client("sqs")
    queue = sqs.create_queue(QueueName="q", Attributes={"ReceiveMessageWaitTimeSeconds": "20"})["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.send_message(QueueUrl=queue, MessageBody="hello")
    assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"][0]["Body"] == "hello"


def test_addresses_in_use_are_not_allotted() -> None:
    addresses = Addresses(10, first=255, in_use=lambda: {"127.10.1.1"})
    assert addresses.allot() == "127.10.1.2"
    assert addresses.allot() == "127.10.1.3"
    addresses.release("127.10.1.2")
    assert addresses.allot() == "127.10.1.4"


def test_listening_addresses_are_read_from_the_kernel() -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.77.1.2", 0))
        listener.listen()
        assert "127.77.1.2" in listening()
