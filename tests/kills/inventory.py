"""Counts all that deployments make, and that nothing may be left of."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from demo.settings import ENVIRONMENT, FLEET, Settings, environment
from tests.end_to_end.running_stage import client
from tests.kills import processes


def count(settings: Settings) -> dict[str, Any]:
    """Count what is in the account, and what still works on this machine."""
    ec2 = client(settings, "ec2")
    instances = [each for held in ec2.describe_instances()["Reservations"] for each in held["Instances"]]
    living = [each for each in instances if each["State"]["Name"] != "terminated"]
    images = ec2.describe_images(Owners=["self"])["Images"]
    return {
        "instances": dict(Counter(_group(each) for each in living)),
        "key pairs": sorted(each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]),
        "security groups of bakes": sorted(
            each["GroupName"]
            for each in ec2.describe_security_groups()["SecurityGroups"]
            if each["GroupName"].startswith("packer")
        ),
        "volumes": len(ec2.describe_volumes()["Volumes"]),
        "images": dict(Counter(_tags(each)["bakeroll:layer"] for each in images)),
        # The source image's is among them, as the sandbox has no other account that it could belong to.
        "snapshots without an image": sorted(_snapshots(ec2) - _snapshots_of(images)),
        "held": sorted(_held(settings)),
        "tools": processes.commands(temporary(settings), "packer", "terraform", "ansible-playbook"),
        "folders": sorted(each.name for each in temporary(settings).glob("bakeroll-*-*")),
    }


def temporary(settings: Settings) -> Path:
    """Give the folder that the stage's tools have their temporary files in."""
    return settings.build.parent / "tmp"


def _tags(described: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", [])}


def _group(instance: dict[str, Any]) -> str:
    return _tags(instance).get("aws:autoscaling:groupName", "of no group")


def _snapshots(ec2: Any) -> set[str]:
    return {each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}


def _snapshots_of(images: list[dict[str, Any]]) -> set[str]:
    return {
        mapping["Ebs"]["SnapshotId"]
        for image in images
        for mapping in image["BlockDeviceMappings"]
        if "SnapshotId" in mapping.get("Ebs", {})
    }


def _held(settings: Settings) -> list[str]:
    """Name the objects that somebody holds something with: journals, leases, locks."""
    s3 = client(settings, "s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=environment(settings.checkout).state_bucket)
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    return [key for key in keys if key.startswith(("journal/", "leases/")) or key.endswith(".tflock")]


def of_bakes(settings: Settings) -> int:
    """Count the instances of bakes that are under way, or were."""
    found = client(settings, "ec2").describe_instances(
        Filters=[
            {"Name": "tag-key", "Values": ["bakeroll:bake"]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
    )
    return sum(len(each["Instances"]) for each in found["Reservations"])


def template_versions(settings: Settings) -> int:
    """Count the launch templates' versions."""
    found = client(settings, "ec2").describe_launch_templates()["LaunchTemplates"]
    return sum(each["LatestVersionNumber"] for each in found)


def newest_image(settings: Settings) -> str:
    """Name the image of the newest version of the fleet's launch template."""
    found = client(settings, "ec2").describe_launch_template_versions(
        LaunchTemplateName=f"{ENVIRONMENT}-{FLEET}", Versions=["$Latest"]
    )
    return str(found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"])


def drain_commands(settings: Settings) -> set[str]:
    """Name the drain commands that were ever sent."""
    found = client(settings, "ssm").list_commands()["Commands"]
    return {each["CommandId"] for each in found if each["DocumentName"].endswith("-drain")}


def noted(settings: Settings, what: str) -> bool:
    """Tell whether the journal of the environment has an entry for the fleet, such as `surge`."""
    s3 = client(settings, "s3")
    try:
        answer = s3.get_object(
            Bucket=environment(settings.checkout).state_bucket, Key=f"journal/{ENVIRONMENT}.json"
        )
    except s3.exceptions.NoSuchKey:
        return False
    fleet = json.loads(answer["Body"].read())["fleets"].get(FLEET, {})
    return bool(fleet.get(what))
