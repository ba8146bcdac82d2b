"""Run Command as boto3 sees it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway.images import DEBIAN
from sandbox.model.ports import CommandResult
from sandbox.wire.inprocess import VirtualAccount, virtual_account

DOCUMENT = {
    "schemaVersion": "2.2",
    "description": "Say a word",
    "parameters": {"word": {"type": "String", "default": "hello"}},
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "say", "inputs": {"runCommand": ["echo {{ word }}"]}}
    ],
}


@pytest.fixture
def aws() -> VirtualAccount:
    account = virtual_account(seed=1)
    account.client("ssm").create_document(Name="say", DocumentType="Command", Content=json.dumps(DOCUMENT))
    account.hypervisor.default.answer = lambda _, script: CommandResult(status=0, stdout=script, stderr="")
    return account


@pytest.fixture
def instances(aws: VirtualAccount) -> list[str]:
    launched = aws.client("ec2").run_instances(ImageId=DEBIAN.image_id, MinCount=2, MaxCount=2)
    aws.clock.advance(30)
    return [instance["InstanceId"] for instance in launched["Instances"]]


def send(aws: VirtualAccount, ids: list[str], **params: Any) -> str:
    sent = aws.client("ssm").send_command(DocumentName="say", InstanceIds=ids, **params)
    return str(sent["Command"]["CommandId"])


def test_a_command_runs_on_each_instance(aws: VirtualAccount, instances: list[str]) -> None:
    ssm = aws.client("ssm")
    command_id = send(aws, instances, Parameters={"word": ["goodbye"]})
    aws.clock.advance(10)
    for instance_id in instances:
        invocation = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
        assert (invocation["Status"], invocation["ResponseCode"]) == ("Success", 0)
        assert invocation["StandardOutputContent"] == "echo goodbye\n"
    listed = ssm.list_command_invocations(CommandId=command_id, Details=True)["CommandInvocations"]
    assert {each["InstanceId"] for each in listed} == set(instances)
    assert listed[0]["CommandPlugins"][0]["Output"] == "echo goodbye\n"
    assert ssm.list_commands(CommandId=command_id)["Commands"][0]["CompletedCount"] == 2


def test_a_command_is_refused_whole_if_one_agent_is_gone(aws: VirtualAccount, instances: list[str]) -> None:
    # Source: Systems Manager API reference, SendCommand, InvalidInstanceId
    aws.client("ec2").terminate_instances(InstanceIds=instances[:1])
    with pytest.raises(ClientError, match="InvalidInstanceId"):
        send(aws, instances)
    assert aws.client("ssm").list_commands()["Commands"] == []


def test_agents_are_listed_and_filtered(aws: VirtualAccount, instances: list[str]) -> None:
    ssm = aws.client("ssm")
    filters = [{"Key": "InstanceIds", "Values": instances[:1]}, {"Key": "PingStatus", "Values": ["Online"]}]
    found = ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
    assert [each["InstanceId"] for each in found] == instances[:1]
    aws.client("ec2").stop_instances(InstanceIds=instances[:1])
    assert ssm.describe_instance_information(Filters=filters)["InstanceInformationList"] == []
    with pytest.raises(ClientError, match="InvalidFilterKey"):
        ssm.describe_instance_information(Filters=[{"Key": "AgentVersion", "Values": ["1"]}])


def test_a_command_is_cancelled(aws: VirtualAccount, instances: list[str]) -> None:
    ssm = aws.client("ssm")
    aws.hypervisor.default.command_seconds = 100
    command_id = send(aws, instances[:1])
    aws.clock.advance(5)
    ssm.cancel_command(CommandId=command_id)
    aws.clock.advance(1)
    invocation = ssm.get_command_invocation(CommandId=command_id, InstanceId=instances[0])
    assert invocation["Status"] == "Cancelled"


def test_lists_come_in_pages(aws: VirtualAccount, instances: list[str]) -> None:
    more = aws.client("ec2").run_instances(ImageId=DEBIAN.image_id, MinCount=10, MaxCount=10)["Instances"]
    aws.clock.advance(30)
    pages = (
        aws.client("ssm")
        .get_paginator("describe_instance_information")
        .paginate(PaginationConfig={"PageSize": 5})
    )
    listed = [each["InstanceId"] for page in pages for each in page["InstanceInformationList"]]
    assert sorted(listed) == sorted([*instances, *(each["InstanceId"] for each in more)])


def test_an_unknown_document_or_invocation_is_refused(aws: VirtualAccount, instances: list[str]) -> None:
    ssm = aws.client("ssm")
    with pytest.raises(ClientError, match="InvalidDocument"):
        ssm.send_command(DocumentName="nothing", InstanceIds=instances)
    with pytest.raises(ClientError, match="InvocationDoesNotExist"):
        ssm.get_command_invocation(CommandId="0" * 36, InstanceId=instances[0])
