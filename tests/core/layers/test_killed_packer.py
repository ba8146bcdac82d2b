"""What the real Packer makes for itself is what is looked for after it was killed outright."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.ec2.models import ec2_backends
from moto.server import ThreadedMotoServer

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import ToolInterruptedError
from bakeroll.core.layers.bakery import Bakery, Place

pytestmark = pytest.mark.packer

REPOSITORY = Path(__file__).parents[3]
REGION, ACCOUNT, BUCKET = "ap-northeast-1", "123456789012", "killed-packer"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST000000000000", "AWS_SECRET_ACCESS_KEY": "any"}
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# Its machine is only a record, so Packer waits for its SSH until it is killed.
FAR_ENOUGH = "Waiting for SSH to become available"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    missing = [tool for tool in ("packer", "ansible-playbook") if shutil.which(tool, path=PATH) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"{' and '.join(missing)} not found on PATH")
    assert not missing
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def clients(endpoint: str) -> Clients:
    make: Any = boto3.client
    return Clients(
        lambda service: make(
            service,
            REGION,
            endpoint_url=endpoint,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
    )


def account(clients: Clients) -> dict[str, set[str]]:
    ec2 = clients.ec2
    instances = [each for held in ec2.describe_instances()["Reservations"] for each in held["Instances"]]
    living = [each for each in instances if each["State"]["Name"] != "terminated"]
    leases = clients.s3.list_objects_v2(Bucket=BUCKET, Prefix="leases/").get("Contents", [])
    return {
        "instances": {each["InstanceId"] for each in living},
        "key pairs": {each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]},
        "groups": {each["GroupName"] for each in ec2.describe_security_groups()["SecurityGroups"]},
        "volumes": {each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]},
        "leases": {each["Key"] for each in leases},
    }


def test_all_that_a_killed_packer_left_is_found(endpoint: str, clients: Clients) -> None:
    clients.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    source = clients.ec2.register_image(Name="debian-12", RootDeviceName="/dev/xvda")["ImageId"]
    ec2_backends[ACCOUNT][REGION].amis[source].root_device_type = "ebs"
    before = account(clients)
    facts: dict[str, Any] = {
        "region": REGION, "account_id": ACCOUNT, "state_bucket": BUCKET,
        "source_ami": {"owners": [ACCOUNT], "name": "debian-*"}, "application": {"repository": "x"},
        "terraform": {"root": "x"}, "fleets": {"web": {}},
    }  # fmt: skip
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        child = bakery._tool._child
        if FAR_ENOUGH in line and child is not None:
            os.killpg(child.pid, signal.SIGKILL)  # caretaker, lease keeper, Packer and its plugins

    place = Place(
        REPOSITORY / "packer",
        custom_endpoint_ec2=endpoint,
        worker_env={**os.environ, "PATH": PATH},
        poll_seconds=0.2,
        lease_seconds=3600,
    )
    bakery = Bakery("development", Environment.model_validate(facts), clients=clients, place=place, say=say)
    with pytest.raises(ToolInterruptedError, match="killed by signal 9; what it left"):
        bakery.bake("base", source, commit=None, credentials=KEYS, vault_password="any")
    left = account(clients)
    assert {kind: len(left[kind] - before[kind]) for kind in left} == {
        "instances": 1, "key pairs": 1, "groups": 1, "volumes": 1, "leases": 1,
    }, "\n".join(said)  # fmt: skip

    bakery.tidy()
    assert account(clients) == left, "its lease has not lapsed yet"
    later = Place(REPOSITORY / "packer", now=lambda: 10_000_000_000.0, poll_seconds=0.2)
    Bakery(
        "development", Environment.model_validate(facts), clients=clients, place=later, say=said.append
    ).tidy()
    assert account(clients) == before, "\n".join(said)
