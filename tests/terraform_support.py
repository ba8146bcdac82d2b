"""What tests that run Terraform share: the binary, the provider mirror, and an AWS on a loopback port."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.moto_api._internal import moto_api_backend
from moto.server import ThreadedMotoServer

from tools import terraform_mirror

ROOT = Path(__file__).resolve().parent.parent
REGION = "ap-northeast-1"
ACCOUNT_ID = "123456789012"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


def require_terraform() -> str:
    """Give the binary; without it skip with the reason, but fail in CI, where nothing is skipped."""
    return require(os.environ.get("BAKEROLL_TERRAFORM", "terraform"))


def require(binary: str) -> str:
    """Give a program's name; without it skip with the reason, but fail in CI, where nothing is skipped."""
    if shutil.which(binary):
        return binary
    reason = f"{binary} is not on PATH"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def provider_mirror() -> dict[str, str]:
    """Give the environment variable that names a mirror, if there is one."""
    found = terraform_mirror.setting()
    return {terraform_mirror.SETTING: found} if found else {}


class Cloud:
    """moto on a loopback port."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        self.aws = {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint_url}

    def client(self, service: str) -> Any:
        client: Any = boto3.client  # its overloads know each service by name only
        return client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def make_bucket(self, name: str) -> None:
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})


@contextmanager
def moto_cloud() -> Iterator[Cloud]:
    """Start moto's server on a free loopback port, with an empty account."""
    # moto keeps one account in the process: what earlier tests left in it goes.
    moto_api_backend.reset()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Cloud(f"http://{host}:{port}")
    finally:
        server.stop()
