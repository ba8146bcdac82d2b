"""Terraform as a person runs it: with the image that `ami.tf` looks up, and without asking bakeroll."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from demo.infrastructure import environment as variables
from demo.settings import REGION, environment
from tests.rollouts.conftest import Rollouts

OVERRIDE = f'provider "aws" {{\n  s3_use_path_style = true\n  region            = "{REGION}"\n}}\n'
"""What the sandbox's buckets need, as they have no names of hosts."""
LINES = 12


class Terraform:
    """The environment's root module, initialised.

    :param rollouts: the stage.
    """

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts = rollouts
        self._root = environment(rollouts.settings.checkout).terraform_root

    def init(self) -> None:
        """Initialise it, as `terraform/README.md` says."""
        backend = {
            "bucket": environment(self._rollouts.settings.checkout).state_bucket,
            "region": REGION,
            "key": f"terraform/{self._root.name}/terraform.tfstate",
            "use_path_style": "true",
        }
        options = [f"-backend-config={name}={value}" for name, value in backend.items()]
        self._run("init", "-reconfigure", *options)

    def apply(self, *, image_id: str | None = None) -> None:
        """Apply all that it wants.

        :param image_id: the application image; None for the newest released one.
        """
        chosen = [f"-var=application_ami_id={image_id}"] if image_id else []
        files = ["-var-file=../common.tfvars", "-var-file=terraform.tfvars"]
        self._run("apply", "-auto-approve", *files, *chosen)

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            ["terraform", arguments[0], "-no-color", *arguments[1:]],
            cwd=self._root,
            env=variables(self._rollouts.settings),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        self._rollouts.say("\n".join(done.stdout.splitlines()[-LINES:]))


@contextmanager
def terraform(rollouts: Rollouts) -> Iterator[Terraform]:
    """Initialise Terraform where a person does, and leave nothing there that a deployment would read."""
    found = Terraform(rollouts)
    override = environment(rollouts.settings.checkout).terraform_root / "by_hand_override.tf"
    override.write_text(OVERRIDE, encoding="utf-8")
    try:
        found.init()
        yield found
    finally:
        override.unlink()
