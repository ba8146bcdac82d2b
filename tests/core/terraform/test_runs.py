"""Real Terraform with its S3 backend against moto; the resources are of Terraform's built-in provider."""

from __future__ import annotations

import json
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeroll.core.errors import LockedError, PlanError, StalePlanError, ToolInterruptedError
from bakeroll.core.process import Tool
from bakeroll.core.terraform import PlanLocation, State, Terraform
from bakeroll.core.terraform.plans import PROTECTED_TYPES
from tests.terraform_support import REGION, Cloud, moto_cloud, require_terraform

pytestmark = pytest.mark.terraform

CONFIGURATION = """
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

variable "application_ami_id" { type = string }
variable "min_size_floor" {
  type    = map(number)
  default = {}
}
variable "shared" { type = string }
variable "own" { type = string }
variable "wait" {
  type    = string
  default = ""
}

module "part" {
  source = "../../modules/part"
  image  = var.application_ami_id
}

resource "terraform_data" "slow" {
  count = var.wait == "" ? 0 : 1

  provisioner "local-exec" {
    command = "echo started > ${var.wait}; exec sleep 60"
  }
}

output "image" { value = module.part.image }
output "floor" { value = lookup(var.min_size_floor, "web", 0) }
output "variables" { value = "${var.shared} ${var.own}" }
output "secret" {
  value     = "s3cret-output"
  sensitive = true
}
"""

PART = """
variable "image" { type = string }
resource "terraform_data" "this" {
  input            = "${var.image} ${trimspace(file("${path.module}/text"))}"
  triggers_replace = startswith(var.image, "replace") ? var.image : ""
}
output "image" { value = terraform_data.this.output }
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    require_terraform()
    with moto_cloud() as running:
        running.make_bucket("state")
        yield running


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    environments = tmp_path / "checkout" / "terraform" / "environments"
    root = environments / "test"
    part = tmp_path / "checkout" / "terraform" / "modules" / "part"
    root.mkdir(parents=True)
    part.mkdir(parents=True)
    (root / "main.tf").write_text(CONFIGURATION)
    (root / "terraform.tfvars").write_text('own = "own"\n')
    (environments / "common.tfvars").write_text('shared = "shared"\nown = "overridden"\n')
    (part / "main.tf").write_text(PART)
    (part / "text").write_text("text\n")
    return root


class Setup:
    def __init__(self, cloud: Cloud, checkout: Path) -> None:
        self.cloud = cloud
        self.checkout = checkout
        self.state = State.of_environment(f"test-{uuid.uuid4().hex[:8]}", "state", REGION)
        self.lines: list[str] = []

    def terraform(self, tool: Tool | None = None) -> Terraform:
        return Terraform(
            environment="test",
            root=self.checkout,
            state=self.state,
            s3=self.cloud.client("s3"),
            aws=self.cloud.aws,
            on_line=self.lines.append,
            tool=tool,
        )

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.checkout)) for path in self.checkout.rglob("*"))

    @property
    def log(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def setup(cloud: Cloud, checkout: Path) -> Setup:
    return Setup(cloud, checkout)


def saved(setup: Setup, run: str, image: str = "ami-1", **variables: Any) -> PlanLocation:
    location = setup.terraform().plan(run, {"application_ami_id": image, **variables}).location
    assert location is not None
    return location


def test_plans_shows_saves_and_applies_that_very_plan(setup: Setup) -> None:
    files = setup.files()
    plan = setup.terraform().plan(
        "manual__2026-01-01T00:00:00+00:00", {"application_ami_id": "ami-1", "min_size_floor": {"web": 3}}
    )
    assert (plan.add, plan.change, plan.destroy) == (1, 0, 0)
    assert [change.line() for change in plan.changes] == ["+ create module.part.terraform_data.this"]
    assert plan.outputs == {"floor": 3, "variables": "shared own"}
    assert (
        "test: 1 to add, 0 to change, 0 to destroy, outputs floor, image, secret, variables change"
        in setup.log
    )
    assert plan.location is not None
    assert plan.location.key == "plans/test/manual__2026-01-01T00:00:00+00:00/plan.tar.gz"
    head = setup.cloud.client("s3").head_object(Bucket="state", Key=plan.location.key)
    assert head["ServerSideEncryption"] == "AES256"

    # The checkout changes, another worker applies: what counts is what was shown.
    location = PlanLocation.from_dict(json.loads(json.dumps(plan.summary()["location"])))
    (setup.checkout / "../../modules/part/text").write_text("changed\n")
    outputs = setup.terraform().apply(location)
    assert outputs == {"image": "ami-1 text", "floor": 3, "variables": "shared own"}
    (setup.checkout / "../../modules/part/text").write_text("text\n")
    assert setup.terraform().outputs() == outputs
    assert setup.files() == files
    assert "s3cret" not in setup.log
    assert "s3cret" not in json.dumps(plan.summary())


FLEETS = """
resource "terraform_data" "group" {
  for_each = toset(["web", "worker"])
}
output "fleets" {
  value = { for name, group in terraform_data.group : name => { name = name, template = group.id } }
}
"""


def test_a_plan_knows_the_names_of_fleets_that_are_not_made_yet(setup: Setup) -> None:
    assert setup.terraform().plan("without", {"application_ami_id": "ami-1"}).fleets is None
    with (setup.checkout / "main.tf").open("a") as file:
        file.write(FLEETS)
    plan = setup.terraform().plan("first", {"application_ami_id": "ami-1"})
    assert "fleets" not in plan.outputs, "the ids are not known yet"
    assert plan.fleets == {"web", "worker"}
    assert plan.location is not None
    setup.terraform().apply(plan.location)
    plan = setup.terraform().plan("second", {"application_ami_id": "ami-1"})
    assert (plan.location, plan.fleets) == (None, {"web", "worker"})


def test_nothing_to_change_saves_nothing_and_knows_the_outputs(setup: Setup) -> None:
    setup.terraform().apply(saved(setup, "first"))
    plan = setup.terraform().plan("second", {"application_ami_id": "ami-1"})
    assert not plan.has_changes
    assert plan.location is None
    assert plan.outputs == {"image": "ami-1 text", "floor": 0, "variables": "shared own"}
    assert setup.lines[-1] == "test: nothing to change"


def test_a_plan_whose_state_was_changed_meanwhile_is_stale(setup: Setup) -> None:
    first = saved(setup, "first", "ami-1")
    second = saved(setup, "second", "ami-2")
    setup.terraform().apply(second)
    with pytest.raises(StalePlanError, match=r"^test: the saved plan is stale"):
        setup.terraform().apply(first)


def test_a_plan_that_is_not_the_one_shown_is_refused(setup: Setup) -> None:
    location = saved(setup, "first")
    saved(setup, "first", "ami-2")
    with pytest.raises(PlanError, match="is not the plan that was shown"):
        setup.terraform().apply(location)
    gone = PlanLocation(bucket=location.bucket, key="plans/test/gone/plan.tar.gz", sha256=location.sha256)
    with pytest.raises(PlanError, match="is gone"):
        setup.terraform().apply(gone)


def test_a_lock_held_by_somebody_else_names_its_holder(setup: Setup) -> None:
    lock = {
        "ID": "b6a3f3a4-0000-4000-8000-000000000000",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "alice@laptop",
        "Version": "1.11.4",
        "Created": "2026-01-01T00:00:00Z",
        "Path": f"{setup.state.bucket}/{setup.state.key}",
    }
    setup.cloud.client("s3").put_object(
        Bucket="state", Key=f"{setup.state.key}.tflock", Body=json.dumps(lock).encode()
    )
    with pytest.raises(LockedError) as caught:
        setup.terraform().plan("run", {"application_ami_id": "ami-1"})
    message = str(caught.value)
    for part in ("alice@laptop", "2026-01-01", "OperationTypeApply", f"force-unlock {lock['ID']}"):
        assert part in message
    assert "\n" not in message


def test_an_interrupt_releases_the_lock(setup: Setup, tmp_path: Path) -> None:
    started = tmp_path / "started"
    location = saved(setup, "run", wait=str(started))
    tool = Tool(grace_seconds=30)
    terraform = setup.terraform(tool)

    def interrupt_when_started() -> None:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        terraform.interrupt()

    killer = threading.Thread(target=interrupt_when_started)
    killer.start()
    with pytest.raises(ToolInterruptedError):
        terraform.apply(location)
    killer.join()
    assert started.exists()
    listed = setup.cloud.client("s3").list_objects_v2(Bucket="state", Prefix=setup.state.key)
    assert [entry["Key"] for entry in listed["Contents"]] == [setup.state.key]


def test_a_failure_is_one_line_with_terraforms_own_words(setup: Setup) -> None:
    (setup.checkout / "../../modules/part/text").unlink()
    with pytest.raises(PlanError) as caught:
        setup.terraform().plan("run", {"application_ami_id": "ami-1"})
    message = str(caught.value)
    assert message.startswith("test: terraform plan failed: ")
    assert "main.tf:4" in message
    assert "\n" not in message
    assert "Error: " in setup.log


def test_a_variable_that_the_root_module_does_not_have_is_an_error(setup: Setup) -> None:
    with pytest.raises(PlanError, match="undeclared variable"):
        setup.terraform().plan("run", {"application_ami_id": "ami-1", "typo": "x"})


def test_a_replacement_of_what_serves_is_refused_unless_allowed(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeroll.core.terraform.plans.PROTECTED_TYPES", PROTECTED_TYPES | {"terraform_data"})
    setup.terraform().apply(saved(setup, "first"))
    variables = {"application_ami_id": "replace"}
    with pytest.raises(PlanError, match=r"would replace module\.part\.terraform_data\.this"):
        setup.terraform().plan("second", variables)
    plan = setup.terraform().plan("third", variables, allow_destroy=True)
    assert (plan.add, plan.destroy) == (1, 1)
    assert plan.location is not None
    assert setup.terraform().apply(plan.location)["image"] == "replace text"


def test_a_binary_that_is_missing_is_named(setup: Setup) -> None:
    terraform = Terraform(
        environment="test",
        root=setup.checkout,
        state=setup.state,
        s3=setup.cloud.client("s3"),
        aws=setup.cloud.aws,
        on_line=setup.lines.append,
        binary="no-such-terraform",
    )
    with pytest.raises(PlanError, match="no-such-terraform is not on PATH"):
        terraform.plan("run", {})


def test_a_missing_root_is_named(setup: Setup) -> None:
    shutil.rmtree(setup.checkout)
    with pytest.raises(PlanError, match="is no Terraform module"):
        setup.terraform().outputs()
