"""A repository, an account and a Packer that makes images in it, for tests of the bakery."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

import boto3

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.layers import bakery as bakery_module
from bakeroll.core.layers.bakery import Bakery, Place
from bakeroll.core.layers.decisions import Decisions
from bakeroll.core.layers.packer import Order

REGION = "ap-northeast-1"
ACCOUNT = "123456789012"
BUCKET = "example-bakeroll"


class Clock:
    """Time that passes only in pauses."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class World:
    """A repository, an account, and a Packer that makes images in it."""

    def __init__(self, folder: Path) -> None:
        self._call = threading.Lock()
        self.clients = Clients(self._client)
        self.clients.s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
        )
        self.debian = str(self.clients.ec2.register_image(Name="debian-12")["ImageId"])
        self.packer_dir = folder / "packer"
        for layer in ("base", "application_base", "application"):
            self.write(f"provisioners/{layer}.yml", "- hosts: all\n")
            self.write(f"variables/{layer}.pkrvars.hcl", "")
        self.write("variables/common.pkrvars.hcl", "")
        self.write("layer.pkr.hcl", "")
        self.worker_env = {**os.environ, "BAKEROLL_CACHE": str(folder / "cache")}
        self.source = folder / "source"
        self.source.mkdir()
        self.git("init", "-q", "-b", "main")
        self.commit()
        self.clock = Clock()
        self.said: list[str] = []
        self.orders: list[Order] = []

    def _client(self, service: str) -> Any:
        """Make a client whose calls go one at a time: moto closes an object that is read meanwhile."""
        make: Any = boto3.client
        client = make(service, REGION)
        call = client._make_api_call

        def alone(*arguments: Any) -> Any:
            with self._call:
                return call(*arguments)

        client._make_api_call = alone
        return client

    def write(self, name: str, text: str) -> None:
        path = self.packer_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *arguments: str) -> None:
        who = {
            f"GIT_{role}_{what}": "a@example.com"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        env = {"PATH": os.environ["PATH"], "HOME": str(self.source), **who}
        subprocess.run(["git", *arguments], cwd=self.source, env=env, check=True, capture_output=True)

    def commit(self) -> None:
        self.git("commit", "-q", "--allow-empty", "-m", "x")

    def environment(self, bucket: str = BUCKET) -> Environment:
        facts: dict[str, Any] = {
            "region": REGION, "account_id": ACCOUNT, "state_bucket": bucket,
            "source_ami": {"owners": [ACCOUNT], "name": "debian-*"},
            "application": {"repository": str(self.source)},
            "terraform": {"root": "x"}, "fleets": {"web": {}},
        }  # fmt: skip
        return Environment.model_validate(facts)

    def bakery(self, name: str = "development") -> Bakery:
        return Bakery(
            name,
            self.environment(),
            clients=self.clients,
            place=Place(
                self.packer_dir,
                poll_seconds=0.05,
                worker_env=self.worker_env,
                lease_seconds=1,
                now=self.clock,
                sleep=self.clock.sleep,
            ),
            say=self.said.append,
        )

    def packer(self, order: Order, **_: object) -> str:
        self.orders.append(order)
        image_id = self.clients.ec2.register_image(
            Name=order.image_name, BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}]
        )["ImageId"]
        return str(image_id)

    def bake(
        self, layer: str, decisions: Decisions, baked: dict[str, str], name: str = "development"
    ) -> bakery_module.Baked:
        parent = decisions.parent_of(layer, baked)
        assert parent is not None
        result = self.bakery(name).bake(
            layer,
            parent,
            commit=decisions.commit,
            sources=decisions.sources,
            from_number=decisions.of(layer).from_number,
            credentials={},
            vault_password="x",
        )
        baked[layer] = result.image_id
        return result

    def deploy(self, name: str = "development", **options: Any) -> list[str]:
        """Decide and bake as the DAG does; return what was baked."""
        decisions = self.bakery(name).decide(**options)
        baked: dict[str, str] = {}
        for decision in decisions.layers:
            if decision.bake:
                assert not self.bake(decision.layer, decisions, baked, name).reused
        return list(baked)
