"""A check that cannot fail is worth nothing: each kind of leak is planted, and seen."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.wire.inprocess import virtual_account
from tests.fleets import make_fleet
from tests.secrets_watch import ARGUMENTS, ENVIRONMENT, Allowed, Secrets, SecretsWatch, Sighting
from tests.secrets_written import in_account, in_bucket, in_database, in_folder, in_text, unprotected_plans

VALUE = "8f1d0a7c55e94b6ba3a5"
SECRETS = Secrets({"password": VALUE, "other": "never shown anywhere at all"})
DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {"p": {"type": "String"}},
    "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["{{ p }}"]}}],
}
LIVES = "import sys; sys.stdin.read()"


@pytest.fixture
def seen() -> Callable[..., list[Sighting]]:
    """Give what a watch sees of one process that lives until it was looked at."""

    def run(argument: str = "x", **environment: str) -> list[Sighting]:
        with SecretsWatch(SECRETS) as watch:
            child = subprocess.Popen(
                [sys.executable, "-c", LIVES, argument],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
            )
            try:
                # The first look after the program started may have begun before it.
                wanted = watch.looks + 2
                deadline = time.monotonic() + 60
                while watch.looks < wanted or "-c" not in Path(f"/proc/{child.pid}/cmdline").read_text():
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                wanted = watch.looks + 2
                while watch.looks < wanted:
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
            finally:
                child.communicate()
        return watch.sightings()

    return run


def test_an_argument_is_seen(seen: Callable[..., list[Sighting]]) -> None:
    (found,) = seen(f"--password={VALUE}")
    assert (found.secret, found.place, found.user) == ("password", ARGUMENTS, os.geteuid())


def test_a_variable_is_seen(seen: Callable[..., list[Sighting]]) -> None:
    (found,) = seen(TOKEN=base64.b64encode(f"user:{VALUE}\n".encode()).decode())
    assert (found.secret, found.place, found.variable) == ("password", ENVIRONMENT, "TOKEN")


def test_nothing_is_seen_where_nothing_is(seen: Callable[..., list[Sighting]]) -> None:
    assert seen("harmless", TOKEN="harmless") == []


def test_a_watch_that_broke_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: object) -> None:
        raise RuntimeError("no /proc")

    monkeypatch.setattr(SecretsWatch, "look", broken)
    with pytest.raises(RuntimeError, match="no /proc"), SecretsWatch(SECRETS):
        pass


def test_only_what_is_allowed_is_left_out() -> None:
    watch = SecretsWatch(SECRETS)
    tool = Sighting("password", ENVIRONMENT, "packer", "AWS_SECRET_ACCESS_KEY", 0)
    other = Sighting("password", ENVIRONMENT, "ssh", "AWS_SECRET_ACCESS_KEY", 0)
    watch._sightings |= {tool, other}
    assert watch.sightings(Allowed("password", ENVIRONMENT, "packer", "AWS_*")) == [other]
    assert watch.sightings(Allowed("password", ARGUMENTS)) == [tool, other]


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
def test_base64_is_seen_wherever_it_begins(before: str) -> None:
    assert SECRETS.within(base64.b64encode(f"{before}{VALUE} and more".encode())) == {"password"}


def test_a_secret_that_is_an_ordinary_word_is_refused() -> None:
    with pytest.raises(AssertionError, match="too short"):
        Secrets({"key": "sandbox"})


def test_logs_and_files_are_looked_through(tmp_path: Path) -> None:
    assert in_text(SECRETS, "log", ["fine", f"password {VALUE}"]) == [Sighting("password", "log")]
    bundle, inner = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("tfplan", f"x{VALUE}", zipfile.ZIP_DEFLATED)
    with tarfile.open(fileobj=bundle, mode="w:gz") as archive:
        entry = tarfile.TarInfo("saved.tfplan")
        entry.size = len(inner.getvalue())
        archive.addfile(entry, io.BytesIO(inner.getvalue()))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "plan.tar.gz").write_bytes(bundle.getvalue())
    (tmp_path / "log.gz").write_bytes(gzip.compress(VALUE.encode()))
    (tmp_path / "plain").write_text(f"a {VALUE} b")
    (tmp_path / "fine").write_bytes(b"\x1f\x8b no archive")
    (tmp_path / f"key-{VALUE}").touch()
    places = [Path(found.place).name for found in in_folder(SECRETS, tmp_path)]
    assert sorted(places) == sorted(["plan.tar.gz", "log.gz", "plain", tmp_path.name])


def test_a_database_is_looked_through(tmp_path: Path) -> None:
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE xcom (key TEXT, value JSON)")
        database.execute("CREATE TABLE rendered_task_instance_fields (rendered_fields BLOB, number INTEGER)")
        database.execute("INSERT INTO xcom VALUES ('a', 'harmless'), ('b', ?)", (f'{{"p": "{VALUE}"}}',))
        fields = base64.b64encode(VALUE.encode())
        database.execute("INSERT INTO rendered_task_instance_fields VALUES (?, 1)", (fields,))
    database.close()
    assert [found.place for found in in_database(SECRETS, path)] == [
        "rendered_task_instance_fields.rendered_fields",
        "xcom.value",
    ]


def test_bucket_and_account_are_looked_through() -> None:
    aws = virtual_account()
    s3, ec2, ssm = aws.client("s3"), aws.client("ec2"), aws.client("ssm")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    s3.put_bucket_versioning(Bucket="state", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="state", Key="journal", Body=VALUE.encode())
    s3.put_object(Bucket="state", Key="journal", Body=b"harmless", ServerSideEncryption="AES256")
    s3.put_object(Bucket="state", Key="releases/1", Body=b"harmless", Metadata={"note": VALUE})
    assert [found.place for found in in_bucket(SECRETS, s3, "state")] == [
        "s3://state/journal",
        "s3://state/releases/1",
    ]
    image = aws.image("application-1")
    fleet = make_fleet(aws, image_id=image, size=1)
    aws.clock.advance(60)
    instances = ec2.describe_instances()["Reservations"]
    instance = instances[0]["Instances"][0]["InstanceId"]
    assert in_account(SECRETS, aws.client) == []
    ec2.create_tags(Resources=[image], Tags=[{"Key": "note", "Value": VALUE}])
    ec2.create_launch_template_version(
        LaunchTemplateId=fleet.template_id,
        LaunchTemplateData={
            "ImageId": image,
            "UserData": base64.b64encode(f"#!/bin/sh\nlogin {VALUE}\n".encode()).decode(),
        },
    )
    ssm.create_document(
        Name="drain",
        DocumentType="Command",
        Content=json.dumps(DOCUMENT),
    )
    ssm.send_command(DocumentName="drain", InstanceIds=[instance], Parameters={"p": [VALUE]})
    places = {found.place for found in in_account(SECRETS, aws.client)}
    assert {"ec2 describe_images", "ec2 describe_tags", f"launch template {fleet.template_id}"} <= places
    assert "ssm list_commands" in places


def test_plans_that_lie_open_or_for_ever_are_named() -> None:
    s3 = virtual_account().client("s3")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    s3.put_object(Bucket="state", Key="plans/a", Body=b"x")
    s3.put_object(Bucket="state", Key="plans/b", Body=b"x", ServerSideEncryption="AES256")
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 1}}
    s3.put_bucket_lifecycle_configuration(Bucket="state", LifecycleConfiguration={"Rules": [rule]})
    assert unprotected_plans(s3, "state") == [
        "plans/a is not encrypted",
        "no lifecycle rule of state expires plans/",
    ]
    rule["Filter"] = {"Prefix": "plans/"}
    s3.put_bucket_lifecycle_configuration(Bucket="state", LifecycleConfiguration={"Rules": [rule]})
    s3.delete_object(Bucket="state", Key="plans/a")
    assert unprotected_plans(s3, "state") == []
