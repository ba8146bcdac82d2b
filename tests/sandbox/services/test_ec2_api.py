"""EC2 as boto3 sees it: machines' states, images and what a launch is refused for."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.gateway.images import DEBIAN
from sandbox.wire.inprocess import VirtualAccount, virtual_account


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


def run(aws: VirtualAccount, **params: Any) -> dict[str, Any]:
    asked = {"ImageId": DEBIAN.image_id, "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro"} | params
    instance: dict[str, Any] = aws.client("ec2").run_instances(**asked)["Instances"][0]
    return instance


def state(aws: VirtualAccount, instance_id: str) -> str:
    found = aws.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    return str(found["State"]["Name"])


def test_the_source_image_is_found_by_owner_and_name(aws: VirtualAccount) -> None:
    found = aws.client("ec2").describe_images(
        Owners=["136693071363"], Filters=[{"Name": "name", "Values": ["debian-12-amd64-*"]}]
    )["Images"]
    assert [image["ImageId"] for image in found] == [DEBIAN.image_id]
    assert found[0]["OwnerId"] == "136693071363"


def test_states_follow_the_machine(aws: VirtualAccount) -> None:
    # Source: EC2 user guide, "Amazon EC2 instance state changes"
    ec2 = aws.client("ec2")
    instance = run(aws, UserData="#!/bin/sh\necho hello\n")
    instance_id = instance["InstanceId"]
    assert instance["State"]["Name"] == "pending"
    assert instance["PrivateIpAddress"] == instance["PublicIpAddress"] == "127.10.0.1"
    aws.clock.advance(30)
    running = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    assert [each["InstanceId"] for each in running["Reservations"][0]["Instances"]] == [instance_id]
    ec2.stop_instances(InstanceIds=[instance_id])
    assert state(aws, instance_id) == "stopping"
    aws.clock.advance(5)
    assert state(aws, instance_id) == "stopped"
    ec2.start_instances(InstanceIds=[instance_id])
    aws.clock.advance(30)
    assert state(aws, instance_id) == "running"
    change = ec2.terminate_instances(InstanceIds=[instance_id])["TerminatingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "shutting-down")
    aws.clock.advance(5)
    assert state(aws, instance_id) == "terminated"


def test_a_client_token_launches_once(aws: VirtualAccount) -> None:
    # Source: EC2 API reference, "Ensuring idempotency"
    first = run(aws, ClientToken="one")
    assert run(aws, ClientToken="one")["InstanceId"] == first["InstanceId"]
    assert run(aws, ClientToken="two")["InstanceId"] != first["InstanceId"]


def test_a_launch_template_version_is_used_and_recorded(aws: VirtualAccount) -> None:
    ec2 = aws.client("ec2")
    data = {
        "ImageId": aws.image("app"),
        "InstanceType": "t3.small",
        "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}]}],
        "UserData": base64.b64encode(b"hello").decode(),
    }
    template = ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)
    template_id = template["LaunchTemplate"]["LaunchTemplateId"]
    asked = {"LaunchTemplateId": template_id, "Version": "1"}
    instance = ec2.run_instances(LaunchTemplate=asked, MinCount=1, MaxCount=1)["Instances"][0]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert instance["InstanceType"] == "t3.small"
    assert tags["Name"] == "web"
    assert tags["aws:ec2launchtemplate:version"] == "1"


@pytest.mark.parametrize(
    ("image", "code"),
    [("ami-0123456789abcdef0", "InvalidAMIID.NotFound"), ("own", "InvalidAMIID.Unavailable")],
)
def test_a_missing_or_disabled_image_launches_nothing(aws: VirtualAccount, image: str, code: str) -> None:
    if image == "own":
        image = aws.image("app")
        aws.client("ec2").disable_image(ImageId=image)
    with pytest.raises(ClientError) as error:
        run(aws, ImageId=image)
    assert error.value.response["Error"]["Code"] == code
    assert aws.client("ec2").describe_instances()["Reservations"] == []


def test_an_unknown_instance_is_refused(aws: VirtualAccount) -> None:
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        aws.client("ec2").stop_instances(InstanceIds=["i-0123456789abcdef0"])


def test_an_image_is_pending_until_its_file_system_is_kept(aws: VirtualAccount) -> None:
    ec2 = aws.client("ec2")
    instance_id = run(aws)["InstanceId"]
    aws.clock.advance(30)
    with pytest.raises(ClientError, match="stopped instances only"):
        ec2.create_image(InstanceId=instance_id, Name="base-0")
    ec2.stop_instances(InstanceIds=[instance_id])
    aws.clock.advance(5)
    tags = [{"Key": "bakeroll:layer", "Value": "base"}]
    image_id = ec2.create_image(
        InstanceId=instance_id,
        Name="base-0",
        TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("image", "snapshot")],
    )["ImageId"]
    assert ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "pending"
    aws.clock.advance(5)
    image = ec2.describe_images(
        Owners=["self"], Filters=[{"Name": "tag:bakeroll:layer", "Values": ["base"]}]
    )["Images"][0]
    assert (image["ImageId"], image["State"]) == (image_id, "available")
    snapshot_id = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    assert ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"][0]["Tags"] == tags
    with pytest.raises(ClientError, match=r"InvalidAMIName\.Duplicate"):
        ec2.create_image(InstanceId=instance_id, Name="base-0")


def test_a_disabled_image_is_shown_only_on_request(aws: VirtualAccount) -> None:
    # Source: EC2 user guide, "Disable an Amazon EC2 AMI"
    ec2 = aws.client("ec2")
    image_id = aws.image("app")
    ec2.disable_image(ImageId=image_id)
    assert ec2.describe_images(Owners=["self"])["Images"] == []
    shown = ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]
    assert [(image["ImageId"], image["State"]) for image in shown] == [(image_id, "disabled")]
    ec2.enable_image(ImageId=image_id)
    assert ec2.describe_images(Owners=["self"])["Images"][0]["State"] == "available"


def test_a_deregistered_image_takes_its_snapshot_with_it_if_asked(aws: VirtualAccount) -> None:
    ec2 = aws.client("ec2")
    image_id = aws.image("app")
    ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
    with pytest.raises(ClientError, match=r"InvalidAMIID\.NotFound"):
        run(aws, ImageId=image_id)


def test_the_console_is_shown(aws: VirtualAccount) -> None:
    instance_id = run(aws)["InstanceId"]
    output = aws.client("ec2").get_console_output(InstanceId=instance_id)["Output"]
    assert instance_id in output


def test_many_launches_do_not_use_up_a_subnet(aws: VirtualAccount) -> None:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/28")["Subnet"]["SubnetId"]
    ids = {run(aws, SubnetId=subnet)["InstanceId"] for _ in range(20)}
    assert len(ids) == 20


def test_a_deleted_launch_template_version_launches_nothing(aws: VirtualAccount) -> None:
    # Source: EC2 API reference, DeleteLaunchTemplateVersions: the default version stays
    ec2 = aws.client("ec2")
    data = {"ImageId": aws.image("app"), "InstanceType": "t3.micro"}
    made = ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=data)["LaunchTemplate"]
    template_id = made["LaunchTemplateId"]
    for _ in range(2):
        ec2.create_launch_template_version(LaunchTemplateId=template_id, LaunchTemplateData=data)
    answer = ec2.delete_launch_template_versions(LaunchTemplateId=template_id, Versions=["1", "2"])
    assert [each["VersionNumber"] for each in answer["SuccessfullyDeletedLaunchTemplateVersions"]] == [2]
    assert [each["VersionNumber"] for each in answer["UnsuccessfullyDeletedLaunchTemplateVersions"]] == [1]
    shown = ec2.describe_launch_template_versions(LaunchTemplateId=template_id)["LaunchTemplateVersions"]
    assert sorted(each["VersionNumber"] for each in shown) == [1, 3]
    gone = {"LaunchTemplateId": template_id, "Version": "2"}
    with pytest.raises(ClientError, match="VersionNotFound"):
        ec2.describe_launch_template_versions(LaunchTemplateId=template_id, Versions=["2"])
    with pytest.raises(ClientError, match="VersionNotFound"):
        ec2.run_instances(LaunchTemplate=gone, MinCount=1, MaxCount=1)
