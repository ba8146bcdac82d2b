"""What can be looked at while the demo's stage still runs, after its deployments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import requests
from botocore.config import Config

from ci import deploy
from demo.settings import ENVIRONMENT, OPERATOR_KEY, REGION, Settings
from demo.stage import Stage
from tests.terraform import authorizations, recorded_calls


def client(settings: Settings, service: str) -> Any:
    """Return a client of the stage's account, as somebody who is no deployment."""
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url,
        region_name=REGION,
        aws_access_key_id=OPERATOR_KEY,
        aws_secret_access_key=OPERATOR_KEY,
        config=Config(proxies={}, retries={"mode": "standard", "max_attempts": 5}),
    )


def calls_without_a_policy(stage: Stage) -> list[str]:
    """Find the calls of its deployments that terraform/modules/iam was not written for.

    Where there are some: `python -m tests.terraform.recorded_calls` adds them to the recorded ones, and
    tests/terraform/test_iam.py tells whether the policies allow them.
    """
    rows = recorded_calls.counted(stage.settings.sandbox_port)
    return authorizations.not_known(recorded_calls.made_by_deployments(rows))


def deploy_from_a_ci_job(stage: Stage, job: str, commit: str | None = None) -> int:
    """Deploy as a CI job does, with the script's own main; gives its exit status.

    :param job: the job's name.
    :param commit: what to deploy, None for the newest commit of the application.
    """
    head = ["git", "-C", str(stage.repository), "rev-parse", "HEAD"]
    newest = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
    arguments = [ENVIRONMENT, "--airflow", stage.settings.airflow_url, "--job", job, "--interval", "1"]
    with _token(stage):
        return deploy.main([*arguments, "--commit", commit or newest])


@contextmanager
def _token(stage: Stage) -> Iterator[None]:
    session = requests.Session()
    session.trust_env = False  # a proxy of this machine knows nothing of its loopback addresses
    answer = session.get(f"{stage.settings.airflow_url}/auth/token", timeout=60)
    answer.raise_for_status()
    before = os.environ.get("AIRFLOW_TOKEN")
    os.environ["AIRFLOW_TOKEN"] = answer.json()["access_token"]
    try:
        yield
    finally:
        del os.environ["AIRFLOW_TOKEN"]
        if before is not None:
            os.environ["AIRFLOW_TOKEN"] = before
