"""Real Terraform, killed outright: whose lock is put aside, and what is applied in place of a stale plan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bakeroll.core.errors import LockedError, PlanError, RetryableError, StalePlanError, ToolInterruptedError
from bakeroll.core.identity import Process, marked
from bakeroll.core.terraform import PlanLocation, State, Terraform
from bakeroll.core.terraform.lock import MARKER, StateLock
from tests.terraform_support import REGION, Cloud, moto_cloud, require_terraform

pytestmark = pytest.mark.terraform

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120
CONFIGURATION = """
terraform {
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

variable "image" { type = string }
variable "gate" { type = string }
resource "terraform_data" "first" { input = var.image }

# Waits, while its apply is cut off, until somebody opens the gate.
resource "terraform_data" "second" {
  input            = terraform_data.first.output
  triggers_replace = var.image

  provisioner "local-exec" {
    command = "echo reached > ${var.gate}.reached; until [ -e ${var.gate} ]; do sleep 0.1; done"
  }
}

output "image" { value = terraform_data.second.output }
"""

TASK = """
import json, sys
from pathlib import Path
import boto3
from bakeroll.core.terraform import PlanLocation, State, Terraform
given = json.loads(sys.stdin.read())
keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": given["state"]["region"]}
Terraform(
    environment="test", root=Path(given["root"]), state=State(**given["state"]),
    s3=boto3.client("s3", endpoint_url=given["aws"]["AWS_ENDPOINT_URL"], **keys),
    aws=given["aws"], on_line=lambda line: print(line, flush=True), run="dag/killed",
).apply(PlanLocation(**given["location"]), given["variables"])
"""


def eventually(holds: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


class World:
    """A root module whose apply stands still in the middle."""

    def __init__(self, cloud: Cloud, folder: Path, bucket: str = "state") -> None:
        self.cloud = cloud
        self.root = folder / "root"
        self.root.mkdir()
        (self.root / "main.tf").write_text(CONFIGURATION)
        self.gate = folder / "gate"
        self.reached = folder / "gate.reached"
        self.state = State.of_environment(folder.name, bucket, REGION)
        self.lines: list[str] = []
        self.s3 = cloud.client("s3")

    def variables(self) -> dict[str, Any]:
        return {"image": "ami-1", "gate": str(self.gate)}

    def terraform(self, on_line: Callable[[str], Any] | None = None) -> Terraform:
        return Terraform(
            environment="test",
            root=self.root,
            state=self.state,
            s3=self.s3,
            aws=self.cloud.aws,
            on_line=on_line or self.lines.append,
            run="dag/second",
        )

    def plan(self, run: str = "run") -> PlanLocation:
        run = f"{self.root.parent.name}-{run}"
        location = self.terraform().plan(run, self.variables()).location
        assert location is not None
        return location

    def apply(self, location: PlanLocation) -> dict[str, Any]:
        return self.terraform().apply(location, self.variables())

    @property
    def lock_key(self) -> str:
        return f"{self.state.key}.tflock"

    def lock(self) -> dict[str, Any] | None:
        listed = self.s3.list_objects_v2(Bucket="state", Prefix=self.lock_key)
        if not listed.get("Contents"):
            return None
        return dict(json.loads(self.s3.get_object(Bucket="state", Key=self.lock_key)["Body"].read()))

    def start_task(self, location: PlanLocation) -> tuple[subprocess.Popen[bytes], str]:
        """Apply in a process of its own until the gate; gives that task and its lock's id."""
        task = subprocess.Popen(
            [sys.executable, "-c", TASK],
            env={**os.environ, "PYTHONPATH": str(ROOT / "plugins")},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        given = {
            "root": str(self.root),
            "state": vars(self.state),
            "aws": self.cloud.aws,
            "location": location.as_dict(),
            "variables": self.variables(),
        }
        assert task.stdin is not None
        task.stdin.write(json.dumps(given).encode())
        task.stdin.close()
        eventually(self.reached.exists)
        lock = self.lock()
        assert lock is not None
        return task, str(lock["ID"])


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    require_terraform()
    with moto_cloud() as running:
        running.make_bucket("state")
        yield running


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> Iterator[World]:
    made = World(cloud, tmp_path)
    yield made
    made.gate.touch()  # whatever a failed test left behind ends


def kill_all(lock_id: str) -> None:
    """Kill the tool and all that it started, of this lock only."""
    for pid in marked(f"{MARKER}={lock_id}"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    eventually(lambda: not marked(f"{MARKER}={lock_id}"))


def test_a_killed_terraform_gives_its_lock_back_and_the_next_try_goes_on(world: World) -> None:
    location = world.plan()

    def kill_terraform() -> None:
        eventually(world.reached.exists)
        lock = world.lock()
        assert lock is not None
        programs = marked(f"{MARKER}={lock['ID']}")
        (terraform,) = [pid for pid, program in programs.items() if program.endswith("terraform")]
        os.kill(terraform, signal.SIGKILL)

    killer = threading.Thread(target=kill_terraform)
    killer.start()
    with pytest.raises(ToolInterruptedError, match="terraform apply was killed by signal 9; this is tried"):
        world.apply(location)
    killer.join()
    assert world.lock() is None
    world.gate.touch()
    assert world.apply(location) == {"image": "ami-1"}


def test_a_task_that_died_is_waited_for_as_long_as_its_terraform_lives(world: World) -> None:
    location = world.plan()
    task, lock_id = world.start_task(location)
    task.kill()
    task.wait()
    impatient = StateLock(
        world.s3,
        "state",
        world.state.key,
        environment="test",
        run="dag/second",
        say=world.lines.append,
        own_wait_seconds=0,
    )
    with (
        pytest.raises(RetryableError, match=r"locked by dag/killed \(process \d+ of .*still runs"),
        impatient.held("Plan"),
    ):
        pytest.fail("its Terraform still runs")
    world.gate.touch()
    # Terraform ends and gives back the lock by itself. Its plan is used up, and nothing is left of it.
    assert world.apply(location) == {"image": "ami-1"}
    assert "test: nothing to change" in world.lines
    assert world.lock() is None
    assert not marked(f"{MARKER}={lock_id}")


def test_the_lock_of_a_task_that_died_with_its_terraform_is_put_aside(world: World) -> None:
    location = world.plan()
    task, lock_id = world.start_task(location)
    task.kill()
    task.wait()
    kill_all(lock_id)
    assert world.lock() is not None
    world.gate.touch()
    assert world.apply(location) == {"image": "ami-1"}
    assert any(line.startswith("putting aside the state lock of dag/killed") for line in world.lines)
    assert world.lock() is None


def test_what_is_left_of_a_stale_plan_is_applied_and_nothing_else(world: World) -> None:
    world.gate.touch()
    location = world.plan()
    # As an apply leaves it that was cut off after the first of two resources.
    first, _, _ = CONFIGURATION.partition("# Waits")
    (world.root / "main.tf").write_text(first)
    world.terraform().apply(world.plan("partly"))
    with pytest.raises(StalePlanError, match=r"^test: the saved plan is stale"):
        world.terraform().apply(location)
    world.lines.clear()
    assert world.apply(location) == {"image": "ami-1"}
    assert "test: 1 to add, 0 to change, 0 to destroy, outputs image change" in world.lines

    # Somebody else's change would be undone: that is more than what was shown.
    (world.root / "main.tf").write_text(CONFIGURATION + 'resource "terraform_data" "theirs" {}')
    world.terraform().apply(world.plan("theirs"))
    with pytest.raises(
        StalePlanError, match=r"would also delete terraform_data\.theirs, which .* shown; start a new run"
    ):
        world.apply(location)
    assert world.lock() is None


def test_a_state_that_could_not_be_written_is_written_once_more(cloud: Cloud, tmp_path: Path) -> None:
    cloud.make_bucket("away")
    world = World(cloud, tmp_path, "away")
    location = world.plan()

    def take_the_bucket_away_and_give_it_back(line: str) -> None:
        world.lines.append(line)
        if "terraform_data.second: Creating" in line:
            for entry in world.s3.list_objects_v2(Bucket="away")["Contents"]:
                world.s3.delete_object(Bucket="away", Key=entry["Key"])
            world.s3.delete_bucket(Bucket="away")
            world.gate.touch()
        if line.startswith("Error: Failed to persist state"):
            cloud.make_bucket("away")

    with pytest.raises(PlanError, match="apply failed: Failed to"):
        world.terraform(take_the_bucket_away_and_give_it_back).apply(location)
    assert "Terraform could not write its state; trying again from errored.tfstate" in world.lines
    assert world.terraform().outputs() == {"image": "ami-1"}


def test_a_backend_that_locks_otherwise_is_left_to_terraform(world: World) -> None:
    main = world.root / "main.tf"
    main.write_text(CONFIGURATION.replace("use_lockfile = true", "use_lockfile = false"))
    world.plan()
    assert "the backend does not lock in its bucket alone: Terraform takes its lock itself" in world.lines


@pytest.mark.parametrize("change", ["boot", "pid_namespace", "nobody"])
def test_a_lock_whose_holder_cannot_be_proven_dead_stays(cloud: Cloud, change: str) -> None:
    """No Terraform needed: it is the bucket's object that decides."""
    s3, key = cloud.client("s3"), f"terraform/{change}/terraform.tfstate"
    process = {**Process.this().as_dict(), "pid": 2**22 + 1, change: "another"}
    info = {
        "ID": "b6a3f3a4",
        "Operation": "OperationTypeApply",
        "Info": "" if change == "nobody" else json.dumps({"bakeroll": {"run": "dag/run", **process}}),
        "Who": "alice@laptop",
        "Created": "2026-01-01T00:00:00Z",
    }
    s3.put_object(Bucket="state", Key=f"{key}.tflock", Body=json.dumps(info).encode())
    lock = StateLock(s3, "state", key, environment="test", run="dag/second", say=print, own_wait_seconds=0)
    with pytest.raises(LockedError) as caught, lock.held("Apply"):
        pytest.fail("it is somebody else's")
    for part in ("test: ", "alice@laptop", "2026-01-01", "OperationTypeApply", "force-unlock b6a3f3a4"):
        assert part in str(caught.value)
    assert ("where its end cannot be seen" in str(caught.value)) == (change != "nobody")
    assert s3.get_object(Bucket="state", Key=f"{key}.tflock")["Body"].read()


def test_a_lock_taken_meanwhile_is_not_given_back_by_us(cloud: Cloud) -> None:
    s3, key = cloud.client("s3"), "terraform/meanwhile/terraform.tfstate"
    lock = StateLock(s3, "state", key, environment="test", run="dag/run", say=print)
    with lock.held("Apply"):
        # A person ends our lock by force and takes it.
        s3.put_object(Bucket="state", Key=f"{key}.tflock", Body=b'{"ID": "theirs"}')
    assert s3.get_object(Bucket="state", Key=f"{key}.tflock")["Body"].read() == b'{"ID": "theirs"}'
