"""A sandbox account with real machines, served by another process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
REGION = "ap-northeast-1"


def require_real_machines(*programs: str) -> None:
    """Skip, or in CI fail, where real machines cannot be had.

    :param programs: further programs that the test needs.
    """
    missing = [each for each in ("debootstrap", "haproxy", *programs) if shutil.which(each) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    if missing:
        reason = f"real machines need {', '.join(missing)}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


class Sandbox:
    """A server in another process.

    :param folder: its state; made by ``up``, gone after ``down``.
    :param access_key: of the clients.
    :param secret_key: of the clients; the sandbox takes any.
    """

    def __init__(
        self, folder: Path, *, access_key: str = "AKIATEST000000000000", secret_key: str = "any"
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder = folder
        self._keys = {"aws_access_key_id": access_key, "aws_secret_access_key": secret_key}

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, name: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "sandbox", name, "--state-dir", str(self.folder)],
            cwd=REPOSITORY,
            env=os.environ | {"BAKEROLL_SANDBOX_PORT": str(self.port)},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, service: str) -> Any:
        client: Any = boto3.client  # its overloads know each service by name only
        return client(service, region_name=REGION, endpoint_url=self.endpoint_url, **self._keys)

    def instance_state(self, instance_id: str) -> str:
        found = self.client("ec2").describe_instances(InstanceIds=[instance_id])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])

    def run(self, instance_id: str, script: str) -> str:
        ssm = self.client("ssm")
        sent = ssm.send_command(
            DocumentName="shell", InstanceIds=[instance_id], Parameters={"script": [script]}
        )
        command_id = sent["Command"]["CommandId"]

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = ssm.get_command_invocation(CommandId=command_id, InstanceId=instance_id)
            return None if found["Status"] in {"Pending", "InProgress"} else found

        invocation = wait(ended)
        assert invocation["Status"] == "Success", invocation
        return str(invocation["StandardOutputContent"])

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.command("status"))
        return found


def wait(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return found
