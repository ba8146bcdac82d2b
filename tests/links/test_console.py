"""Addresses in the AWS console: right for the region and its partition, everything in them escaped."""

from __future__ import annotations

import inspect

import pytest

from bakeroll.links import console
from bakeroll.links.console import ConsoleLink

REGION = "ap-northeast-1"
TOKYO = "https://ap-northeast-1.console.aws.amazon.com"
ARN = "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/web/0123456789abcdef"
LINKS = [link for _, link in inspect.getmembers(console, inspect.isclass) if ConsoleLink in link.__bases__]


@pytest.mark.parametrize(
    ("link", "values", "path"),
    [
        (
            console.ImageLink,
            {"image_id": "ami-0123"},
            "ec2/home?region=ap-northeast-1#ImageDetails:imageId=ami-0123",
        ),
        (
            console.AutoScalingGroupLink,
            {"group": "web blue"},
            "ec2/home?region=ap-northeast-1#AutoScalingGroupDetails:id=web%20blue;view=activity",
        ),
        (
            console.TargetGroupLink,
            {"arn": ARN},
            f"ec2/home?region=ap-northeast-1#TargetGroup:targetGroupArn={ARN}",
        ),
        (
            console.LoadBalancerLink,
            {"arn": ARN},
            f"ec2/home?region=ap-northeast-1#LoadBalancer:loadBalancerArn={ARN}",
        ),
        (
            console.AlarmLink,
            {"alarm": "web errors/5xx"},
            "cloudwatch/home?region=ap-northeast-1#alarmsV2:alarm/web%20errors/5xx",
        ),
        (
            console.CommandLink,
            {"command_id": "0b6f-11"},
            "systems-manager/run-command/0b6f-11?region=ap-northeast-1",
        ),
        (
            console.StateLink,
            {"bucket": "state", "key": "terraform/test/terraform.tfstate"},
            "s3/object/state?region=ap-northeast-1&prefix=terraform/test/terraform.tfstate",
        ),
        (
            console.PlanLink,
            {"bucket": "state", "folder": "plans/test/manual__2026-01-01T00:00:00+00:00"},
            "s3/buckets/state?region=ap-northeast-1&prefix=plans/test/manual__2026-01-01T00:00:00%2B00:00%2F",
        ),
        (
            console.JournalLink,
            {"bucket": "state", "key": "journal/test.json"},
            "s3/buckets/state?region=ap-northeast-1&prefix=journal/test.json&showversions=true",
        ),
        (
            console.ReleaseLink,
            {"bucket": "state", "key": "releases/test/a&b.json"},
            "s3/object/state?region=ap-northeast-1&prefix=releases/test/a%26b.json",
        ),
    ],
)
def test_addresses(link: type[ConsoleLink], values: dict[str, str], path: str) -> None:
    assert link.address(REGION, **values) == f"{TOKYO}/{path}"


@pytest.mark.parametrize(
    ("region", "start"),
    [
        ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
        ("us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
        ("us-west-99", "https://us-west-99.console.aws.amazon.com/"),  # newer than botocore
    ],
)
def test_other_partitions(region: str, start: str) -> None:
    address = console.ImageLink.address(region, image_id="ami-1")
    assert address is not None
    assert address.startswith(f"{start}ec2/home?region={region}#")


def test_no_link_where_the_console_is_not_known() -> None:
    assert console.ImageLink.address("us-iso-east-1", image_id="ami-1") is None


def test_names_and_keys_are_unique() -> None:
    assert len(LINKS) == 10
    assert len({link.name for link in LINKS}) == len({link.key() for link in LINKS}) == len(LINKS)
    assert all(link().xcom_key == link.key() for link in LINKS)
