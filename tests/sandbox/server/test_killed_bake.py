"""A real Packer on real machines, killed in the middle of a bake: the next try leaves nothing of it."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import ToolInterruptedError
from bakeroll.core.layers.bakery import Bakery, Place
from sandbox.gateway.images import DEBIAN
from tests.real_account import REPOSITORY, Sandbox, require_real_machines

pytestmark = [pytest.mark.real_machines, pytest.mark.packer, pytest.mark.timeout(600)]

BUCKET = "bakeroll-killed-bake"
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - name: Take a moment
      ansible.builtin.raw: sleep 3
"""
ENVIRONMENT = Environment.model_validate(
    {
        "region": "ap-northeast-1", "account_id": "123456789012", "state_bucket": BUCKET,
        "source_ami": {"owners": [DEBIAN.owner_id], "name": DEBIAN.name},
        "application": {"repository": "x"}, "terraform": {"root": "x"}, "fleets": {"web": {}},
    }
)  # fmt: skip


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    require_real_machines("packer")
    made = Sandbox(tmp_path / "state")
    made.command("up")
    try:
        yield made
    finally:
        made.command("down")


@pytest.fixture
def packer_dir(tmp_path: Path) -> Path:
    """Return the repository's template with a playbook that does nothing but last."""
    folder = tmp_path / "packer"
    shutil.copytree(REPOSITORY / "packer" / "variables", folder / "variables")
    (folder / "provisioners").mkdir()
    shutil.copy(REPOSITORY / "packer" / "layer.pkr.hcl", folder)
    shutil.copy(REPOSITORY / "packer" / "provisioners" / "ansible.cfg", folder / "provisioners")
    (folder / "provisioners" / "requirements.yml").write_text("roles: []\ncollections: []\n")
    (folder / "provisioners" / "base.yml").write_text(PLAYBOOK)
    return folder


def account(sandbox: Sandbox) -> dict[str, list[str]]:
    """Return all there is in it."""
    ec2, s3 = sandbox.client("ec2"), sandbox.client("s3")
    instances = [each for held in ec2.describe_instances()["Reservations"] for each in held["Instances"]]
    living = [each for each in instances if each["State"]["Name"] != "terminated"]
    leases = s3.list_objects_v2(Bucket=BUCKET, Prefix="leases/").get("Contents", [])
    return {
        "instances": sorted(each["InstanceId"] for each in living),
        "key pairs": sorted(each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]),
        "groups": sorted(each["GroupId"] for each in ec2.describe_security_groups()["SecurityGroups"]),
        "volumes": sorted(each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]),
        "images": sorted(each["ImageId"] for each in ec2.describe_images(Owners=["self"])["Images"]),
        "snapshots": sorted(
            each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        ),
        "leases": sorted(each["Key"] for each in leases),
    }


def growth(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, int]:
    return {kind: len(after[kind]) - len(before[kind]) for kind in after if after[kind] != before[kind]}


def test_the_next_try_leaves_nothing_of_a_packer_that_was_killed(sandbox: Sandbox, packer_dir: Path) -> None:
    sandbox.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    before = account(sandbox)
    said: list[str] = []

    def bake(say: Callable[[str], object]) -> Any:
        bakery = Bakery(
            "development",
            ENVIRONMENT,
            clients=Clients(sandbox.client),
            place=Place(
                packer_dir,
                custom_endpoint_ec2=f"http://127.0.0.1:{sandbox.port}",
                poll_seconds=0.5,
                lease_seconds=4,
                worker_env={
                    **os.environ,
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                },
            ),
            say=lambda line: (said.append(line), say(line)),
        )
        bakeries.append(bakery)
        return bakery.bake(
            "base",
            DEBIAN.image_id,
            commit=None,
            credentials={"AWS_ACCESS_KEY_ID": "AKIAPACKER0000000000", "AWS_SECRET_ACCESS_KEY": "any"},
            vault_password="any",
        )

    bakeries: list[Bakery] = []

    def kill(line: str) -> None:
        if "Take a moment" in line:
            child = bakeries[0]._tool._child
            assert child is not None
            os.killpg(child.pid, signal.SIGKILL)  # caretaker, lease keeper, Packer, its plugins, Ansible

    with pytest.raises(ToolInterruptedError, match="killed by signal 9"):
        bake(kill)
    left = growth(before, account(sandbox))
    assert {kind: left.get(kind, 0) for kind in ("instances", "key pairs", "groups", "leases")} == {
        "instances": 1,
        "key pairs": 1,
        "groups": 1,
        "leases": 1,
    }
    assert "images" not in left

    baked = bake(lambda line: None)
    assert not baked.reused
    assert growth(before, account(sandbox)) == {"images": 1, "snapshots": 1}, "\n".join(said)
