"""Looks for secrets in what was written: logs, files, Airflow's database, the bucket, the account."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.secrets_watch import Secrets, Sighting


def in_text(secrets: Secrets, where: str, lines: Iterable[str]) -> list[Sighting]:
    """Look through lines of text, a log's for example."""
    return sorted(Sighting(name, where) for name in secrets.within("\n".join(lines).encode()))


def in_folder(secrets: Secrets, *folders: Path) -> list[Sighting]:
    """Look through all files below folders: their content and their names."""
    found: set[Sighting] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            named = secrets.plainly_within(os.fsencode(path))
            found |= {Sighting(name, f"name of a file in {folder}") for name in named}
            try:
                if path.is_symlink() or not path.is_file():
                    continue
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # removed in this moment
            found |= {Sighting(name, str(path)) for name in secrets.within(content)}
    return sorted(found)


def in_database(secrets: Secrets, path: Path) -> list[Sighting]:
    """Look through every column of every table of an SQLite database, Airflow's for example.

    XComs, rendered template fields, triggers, task notes and events are among them.
    """
    found: set[Sighting] = set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.text_factory = bytes
        named = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = [bytes(row[0]).decode() for row in named]
        for table in tables:
            rows = database.execute(f'SELECT * FROM "{table}"')
            columns = [entry[0] for entry in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    if isinstance(value, bytes):
                        found |= {Sighting(name, f"{table}.{column}") for name in secrets.within(value)}
    return sorted(found)


def in_bucket(secrets: Secrets, s3: Any, bucket: str) -> list[Sighting]:
    """Look through every version of every object: content, metadata and name."""
    found: set[Sighting] = set()
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in page.get("Versions", []):
            key = version["Key"]
            wanted = {"Bucket": bucket, "Key": key}
            if version.get("VersionId", "null") != "null":
                wanted["VersionId"] = version["VersionId"]
            answer = s3.get_object(**wanted)
            seen = secrets.within(answer["Body"].read())
            seen |= secrets.within(json.dumps([key, answer["Metadata"]]).encode())
            found |= {Sighting(name, f"s3://{bucket}/{key}") for name in seen}
    return sorted(found)


def unprotected_plans(s3: Any, bucket: str) -> list[str]:
    """Tell which saved plans lie in the bucket unencrypted, or for ever."""
    lacking: list[str] = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="plans/"):
        lacking += [
            f"{entry['Key']} is not encrypted"
            for entry in page.get("Contents", [])
            if not s3.head_object(Bucket=bucket, Key=entry["Key"]).get("ServerSideEncryption")
        ]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    expiring = [
        rule
        for rule in rules
        if rule["Status"] == "Enabled"
        and rule.get("Filter", {}).get("Prefix") == "plans/"
        and rule.get("Expiration", {}).get("Days")
    ]
    return lacking if expiring else [*lacking, f"no lifecycle rule of {bucket} expires plans/"]


# What an account shows to whoever may only read it: the call, its arguments, and where its answer is.
_READ = {
    "ec2": (
        "describe_instances", "describe_images", "describe_snapshots", "describe_volumes", "describe_tags",
        "describe_key_pairs", "describe_security_groups",
    ),
    "autoscaling": ("describe_auto_scaling_groups", "describe_tags"),
    "ssm": ("list_commands", "list_documents"),
}  # fmt: skip


def in_account(secrets: Secrets, client: Any) -> list[Sighting]:
    """Look through what the account shows: tags, user data, launch templates, SSM commands and outputs.

    :param client: makes a client by the service's name.
    """
    found: set[Sighting] = set()
    for where, answer in _shown(client):
        text = json.dumps(answer, default=str).encode()
        found |= {Sighting(name, where) for name in secrets.within(text)}
    return sorted(found)


def _shown(client: Any) -> Iterator[tuple[str, Any]]:
    for service, calls in _READ.items():
        made = client(service)
        for call in calls:
            owned = {"OwnerIds": ["self"]} if call == "describe_snapshots" else {}
            yield f"{service} {call}", getattr(made, call)(**owned)
    ec2, ssm = client("ec2"), client("ssm")
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            name = instance["InstanceId"]
            yield (
                f"user data of {name}",
                ec2.describe_instance_attribute(InstanceId=name, Attribute="userData"),
            )
    for template in ec2.describe_launch_templates()["LaunchTemplates"]:
        name = template["LaunchTemplateId"]
        yield f"launch template {name}", ec2.describe_launch_template_versions(LaunchTemplateId=name)
    for command in ssm.list_commands()["Commands"]:
        name = command["CommandId"]
        found = ssm.list_command_invocations(CommandId=name, Details=True)["CommandInvocations"]
        yield f"SSM command {name}", found
        for each in found:
            yield (
                f"output of SSM command {name}",
                ssm.get_command_invocation(CommandId=name, InstanceId=each["InstanceId"]),
            )
