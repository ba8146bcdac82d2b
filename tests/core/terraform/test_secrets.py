"""Where credentials and sensitive values are seen while the real Terraform plans and applies."""

from __future__ import annotations

import json
import os
import secrets as random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakeroll.core.terraform import State, Terraform
from tests.secrets_watch import ENVIRONMENT, Allowed, Secrets, SecretsWatch
from tests.secrets_written import in_bucket, in_folder, in_text
from tests.terraform_support import REGION, Cloud, moto_cloud, require_terraform

pytestmark = pytest.mark.terraform

BUCKET = "state"
# Something sensitive that Terraform comes to know while it plans, as from a data source.
CONFIGURATION = """
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

variable "application_ami_id" { type = string }

locals {
  token = sensitive(trimspace(file("${path.module}/token")))
}

resource "terraform_data" "this" {
  input = { image = var.application_ami_id, token = local.token }
}

output "image" { value = var.application_ami_id }
output "token" {
  value     = terraform_data.this.output.token
  sensitive = true
}
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    require_terraform()
    with moto_cloud() as running:
        running.make_bucket(BUCKET)
        yield running


def test_only_terraform_itself_holds_credentials_and_only_plan_and_state_hold_values(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "checkout" / "terraform" / "environments" / "test"
    root.mkdir(parents=True)
    (root / "main.tf").write_text(CONFIGURATION)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    values = {name: random.token_hex(20) for name in ("AWS secret key", "AWS session token", "value")}
    (root / "token").write_text(values["value"] + "\n")
    secrets = Secrets(values)
    said: list[str] = []
    terraform = Terraform(
        environment="test",
        root=root,
        state=State.of_environment("test", BUCKET, REGION),
        s3=cloud.client("s3"),
        aws={
            **cloud.aws,
            "AWS_SECRET_ACCESS_KEY": values["AWS secret key"],
            "AWS_SESSION_TOKEN": values["AWS session token"],
        },
        on_line=said.append,
    )
    with SecretsWatch(secrets) as watch:
        plan = terraform.plan("run", {"application_ami_id": "ami-1"})
        assert plan.location is not None
        outputs = terraform.apply(plan.location)
        assert terraform.outputs() == outputs == {"image": "ami-1"}

    # Terraform and its providers get credentials in their environment, and nothing anywhere in arguments.
    binary = os.environ.get("BAKEROLL_TERRAFORM", "terraform")
    its_own = [
        Allowed(name, ENVIRONMENT, program, "AWS_*")
        for name in ("AWS secret key", "AWS session token")
        for program in (Path(binary).name, "terraform-provider-*", "caretaker.py")
    ]
    assert watch.sightings(*its_own) == []
    assert ("AWS secret key", "terraform") in {(each.secret, each.program) for each in watch.sightings()}
    assert {each.user for each in watch.sightings()} == {os.geteuid()}

    # What people are shown has none of it: log, the summary that becomes an XCom, errors.
    assert any("sensitive value" in line for line in said)
    assert in_text(secrets, "log", said) == []
    assert in_text(secrets, "summary", [json.dumps(plan.summary())]) == []

    # Terraform keeps sensitive values in plan and state: these are encrypted. Credentials are in neither.
    # Source: https://developer.hashicorp.com/terraform/language/manage-sensitive-data
    s3 = cloud.client("s3")
    found = {(each.secret, each.place) for each in in_bucket(secrets, s3, BUCKET)}
    state = "terraform/test/terraform.tfstate"
    assert found == {
        ("value", f"s3://{BUCKET}/{plan.location.key}"),
        ("value", f"s3://{BUCKET}/{state}"),
    }
    for key in (plan.location.key, state):
        assert s3.head_object(Bucket=BUCKET, Key=key)["ServerSideEncryption"] == "AES256"
    assert list(temporary.iterdir()) == []
    assert in_folder(Secrets({"value": values["AWS secret key"]}), tmp_path) == []
