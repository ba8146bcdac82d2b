"""What must be in an AWS account before the first deployment: the state bucket and the shared network.

A person does the same by hand once in an account of their own, with the same Terraform code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bakeroll.core.terraform import mirror
from demo import services
from demo.settings import ACCOUNT_ID, HOST, OPERATOR_KEY, REGION, DemoError, Settings
from tools import terraform_mirror

NETWORK_KEY = "terraform/network/terraform.tfstate"


def bootstrap(settings: Settings, state_bucket: str) -> None:
    """Apply `terraform/bootstrap` with real Terraform.

    Terraform waits most of a minute until the bucket's lifecycle rules have settled; nothing else needs to.

    :param settings: folders and ports.
    :param state_bucket: the bucket to make.
    :raises DemoError: if Terraform fails.
    """
    variables = environment(settings)
    root = _copy(settings.checkout / "terraform/bootstrap", settings.build / "terraform/bootstrap")
    # the sandbox speaks plain HTTP, on loopback
    facts = {"region": REGION, "account_id": ACCOUNT_ID, "bucket_name": state_bucket, "tls_only": "false"}
    _terraform(root, variables, "init")
    _terraform(
        root, variables, "apply", "-auto-approve", *(f"-var={key}={value}" for key, value in facts.items())
    )


def network(settings: Settings, state_bucket: str) -> None:
    """Apply `terraform/`, the shared network, with real Terraform.

    :param settings: folders and ports.
    :param state_bucket: the bucket that holds the network's state.
    :raises DemoError: if Terraform fails.
    """
    variables = environment(settings)
    root = _copy(settings.checkout / "terraform", settings.build / "terraform/network")
    backend = {"bucket": state_bucket, "key": NETWORK_KEY, "region": REGION, "use_path_style": "true"}
    _terraform(root, variables, "init", *(f"-backend-config={key}={value}" for key, value in backend.items()))
    _terraform(root, variables, "apply", "-auto-approve")


def environment(settings: Settings) -> dict[str, str]:
    """Give the whole environment that Terraform runs in; nothing in it leads to a real AWS account.

    :param settings: folders and ports.
    """
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "TF_"))}
    chosen = {**os.environ, terraform_mirror.SETTING: terraform_mirror.setting() or ""}
    mirror.plugin_cache(chosen).mkdir(parents=True, exist_ok=True)
    configuration = settings.build / "terraform/cli.tfrc"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(mirror.cli_config(chosen), encoding="utf-8")
    return {
        **kept,
        **services.mark("terraform", settings.build),
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": OPERATOR_KEY,
        "AWS_SECRET_ACCESS_KEY": OPERATOR_KEY,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": f"{HOST},localhost",
        "CHECKPOINT_DISABLE": "1",
        "TF_IN_AUTOMATION": "1",
        "TF_INPUT": "0",
        "TF_CLI_CONFIG_FILE": str(configuration),
    }


def _copy(source: Path, target: Path) -> Path:
    """Copy a root module's own files, so that Terraform leaves nothing in the repository."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and (file.suffix in {".tf", ".tfvars"} or file.name == ".terraform.lock.hcl"):
            shutil.copy2(file, target / file.name)
    return target


def _terraform(folder: Path, variables: Mapping[str, str], *arguments: str) -> None:
    result = subprocess.run(
        ["terraform", arguments[0], "-no-color", *arguments[1:]],  # noqa: S607 - as every tool, found by PATH
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode:
        raise DemoError(f"terraform {arguments[0]} in {folder} failed:\n{result.stdout}")
