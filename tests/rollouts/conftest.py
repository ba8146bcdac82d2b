"""One stage for rollouts that meet trouble: four instances, three waves, a gate, load, and real machines."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from demo import repository, stage, traffic, watch
from demo.account import Account, Instance
from demo.airflow_client import PAGE, Run, Task
from demo.load import Summary
from demo.settings import DAG_ID, ENVIRONMENT, FLEET, Settings
from demo.stage import Stage
from sandbox.client import Client
from tests.end_to_end.conftest import own_settings, require_everything
from tests.end_to_end.running_stage import client

SIZE = 4
GROUP = f"{ENVIRONMENT}-{FLEET}"
CAPACITY_TIMEOUT_SECONDS = 60
DRAIN_TIMEOUT_SECONDS = 45
PATIENCE_SECONDS = 900.0
LOOK_SECONDS = 0.5
READING_SECONDS = 5.0


@dataclass
class Seen:
    """What a group was seen to have while somebody looked.

    :ivar images: image of each instance that ever stood in it.
    :ivar desired: each desired capacity.
    """

    images: dict[str, str] = field(default_factory=dict)
    desired: set[int] = field(default_factory=set)


@dataclass
class Rollouts:
    """Deploys version after version, and knows what serves.

    :param running: the stage.
    :ivar version: what serves.
    :ivar newest: what was committed last.
    """

    running: Stage
    settings: Settings
    say: Callable[[str], None]
    version: int = 1
    newest: int = 1
    faults: Client = field(init=False)

    def __post_init__(self) -> None:
        self.faults = Client(self.settings.sandbox_port)

    @property
    def account(self) -> Account:
        """The fleet."""
        return self.running.account

    def commit(self, *faults: str) -> int:
        """Commit a version, with faults if any."""
        self.newest += 1
        repository.commit_version(self.running.repository, self.newest, faults=faults)
        return self.newest

    def begin(self, **conf: Any) -> str:
        """Start a run."""
        run_id = self.running.client.trigger(DAG_ID, conf)
        self.say(f"run {run_id} with {conf}")
        return run_id

    def follow(self, run_id: str) -> tuple[Run, dict[str, Task]]:
        """Wait for a run's end; mapped tasks by their first."""
        run, tasks = watch.follow(self.running.client, DAG_ID, run_id, self.say)
        return run, {task.task_id: task for task in sorted(tasks, key=lambda one: -one.map_index)}

    def await_state(self, run_id: str, task_id: str, *states: str, tries: int = 0) -> None:
        """Wait until a task is in one of some states.

        :param tries: at least in this try.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            tasks = self.running.client.tasks(DAG_ID, run_id)
            found = next((task for task in tasks if task.task_id == task_id), None)
            state = found and found.state
            if found and state in states and found.try_number >= tries:
                return
            assert state not in {"failed", "upstream_failed"}, f"{task_id} is {state}"
            assert time.monotonic() < deadline, f"{task_id} is {state}, waited for {states}"
            time.sleep(LOOK_SECONDS)

    def answer(self, run_id: str, wave: int, word: str) -> None:
        """Answer the question after a wave, as a person does by the API."""
        task_id = f"{FLEET}.wave_{wave}.proceed"
        self.await_state(run_id, task_id, "deferred", "awaiting_input")
        # Nobody reads and answers more quickly. The API resumes the task at once, and Airflow takes one that
        # it resumed before it knew that the asking process had ended for killed, and asks again.
        time.sleep(READING_SECONDS)
        path = f"/dags/{DAG_ID}/dagRuns/{quote(run_id)}/taskInstances/{task_id}/-1/hitlDetails"
        body = {"chosen_options": [word], "params_input": {}}
        self.running.client._call("PATCH", path, body=body)
        self.say(f"answered {word} after wave {wave}")

    def clear(self, run_id: str, task_id: str) -> None:
        """Clear a task with all that comes after it, as a person does."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        answer = self.running.client._call("POST", f"/dags/{DAG_ID}/clearTaskInstances", body=body)
        self.say(f"cleared {task_id}, with what comes after it {answer['total_entries']} tasks")

    def note(self, run_id: str) -> str:
        """Read a run's note."""
        return str(self._run(run_id)["note"])

    def ended(self, run_id: str) -> datetime:
        """Read when a run that has ended did so: only then is it red, whichever task has failed before."""
        return datetime.fromisoformat(self._run(run_id)["end_date"])

    def _run(self, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.running.client._call("GET", f"/dags/{DAG_ID}/dagRuns/{quote(run_id)}")
        return answer

    @contextmanager
    def schedule(self) -> Iterator[str]:
        """Give the environment a schedule that has just come due, as a person does; gives its first run.

        Airflow makes up for the time that came due last if that is less than five minutes, or a tenth of the
        schedule's interval, ago (CronTriggerTimetable, run_immediately). So nobody waits for it here, and the
        next one is tomorrow's.
        """
        file = self.settings.checkout / "dags/environments" / f"{ENVIRONMENT}.yaml"
        before = file.read_text(encoding="utf-8")
        known = set(self._scheduled())
        due = datetime.now(UTC)
        facts = {**yaml.safe_load(before), "schedule": f"{due.minute} {due.hour} * * *"}
        _replace(file, yaml.safe_dump(facts))
        self.say(f"schedule {facts['schedule']}")
        try:
            self.until(lambda: bool(set(self._scheduled()) - known), "a scheduled run")
            (run_id,) = set(self._scheduled()) - known
            yield run_id
        finally:
            _replace(file, before)

    def _scheduled(self) -> list[str]:
        """List the runs that the schedule has started."""
        path = f"/dags/{DAG_ID}/dagRuns"
        answer = self.running.client._call("GET", path, params={"run_type": "scheduled", "limit": PAGE})
        return [str(run["dag_run_id"]) for run in answer["dag_runs"]]

    def group(self) -> dict[str, Any]:
        """Describe the group."""
        autoscaling = client(self.settings, "autoscaling")
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
        described: dict[str, Any] = found["AutoScalingGroups"][0]
        return described

    def sizes(self) -> tuple[int, int, int]:
        """Give minimum, desired capacity and maximum."""
        group = self.group()
        return group["MinSize"], group["DesiredCapacity"], group["MaxSize"]

    def serving(self) -> list[Instance]:
        """List the instances in service and healthy."""
        return [one for one in self.account.instances() if one.healthy]

    def image(self) -> str:
        """Name the image that the group launches."""
        template = self.group()["LaunchTemplate"]
        found = client(self.settings, "ec2").describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
        )
        return str(found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["ImageId"])

    def released(self) -> list[str]:
        """Name the released images, the newest last."""
        released = [{"Name": f"tag:bakeroll:{ENVIRONMENT}", "Values": ["released"]}]
        images = client(self.settings, "ec2").describe_images(Owners=["self"], Filters=released)["Images"]
        return [str(one["ImageId"]) for one in sorted(images, key=lambda one: str(one["CreationDate"]))]

    def await_sizes(self, sizes: tuple[int, int, int]) -> None:
        """Wait until the group has these sizes, and so many instances serve and nobody else is there."""
        self.until(
            lambda: (
                self.sizes() == sizes and len(self.serving()) == len(self.group()["Instances"]) == sizes[1]
            ),
            f"sizes {sizes}",
        )

    def until(self, reached: Callable[[], bool], words: str) -> None:
        """Look until it is so.

        :param words: what is waited for.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, f"waited for {words}; the group is {self.group()}"
            time.sleep(LOOK_SECONDS)

    @contextmanager
    def watch(self) -> Iterator[Seen]:
        """Look at the group all the time."""
        seen, ended = Seen(), threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_SECONDS):
                seen.desired.add(self.sizes()[1])
                seen.images.update({one.instance_id: one.image_id for one in self.account.instances()})

        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield seen
        finally:
            ended.set()
            looking.join()

    def versions(self) -> set[str]:
        """Ask through the load balancer which versions answer."""
        probes = traffic.probe(self.account.load_balancer_url())
        assert probes.failures == []
        return set.union(*probes.versions.values())

    @contextmanager
    def load(self, name: str) -> Iterator[list[Summary]]:
        """Send steady load meanwhile; its summary is there afterwards."""
        sending = traffic.LoadProcess(self.settings, self.account.load_balancer_url(), name)
        summaries: list[Summary] = []
        try:
            yield summaries
        finally:
            summaries.append(sending.end())
        self.say(f"{summaries[0].sent} requests, {len(summaries[0].errors)} failed")

    def assert_as_before(self, sizes: tuple[int, int, int] = (SIZE, SIZE, 2 * SIZE)) -> None:
        """Compare with a fleet that nobody rolled: sizes, processes, protection, version, journal."""
        group = self.group()
        assert self.sizes() == sizes
        assert group["SuspendedProcesses"] == []
        assert not group["NewInstancesProtectedFromScaleIn"]
        assert not any(one["ProtectedFromScaleIn"] for one in group["Instances"])
        assert len(self.serving()) == sizes[1]
        assert len({one.image_id for one in self.serving()}) == 1
        assert self.versions() == {str(self.version)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.rollouts)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollouts]:
    """Deploy version 1 on four instances."""
    require_everything()
    settings = own_settings(tmp_path_factory.mktemp("rollouts"))
    _change_files(settings.checkout)

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    try:
        made = Rollouts(stage.start(settings, say), settings, say)
        run, _ = made.follow(made.begin())
        assert run.state == "success"
        made.running.settle()
        made.assert_as_before()
        yield made
    finally:
        stage.stop(settings, print)


def _replace(file: Path, text: str) -> None:
    """Write a file that the DAG processor may read at any moment."""
    new = file.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(file)


def _change_files(checkout: Path) -> None:
    """Give the fleet four instances, three waves and a gate, as a person does."""
    file = checkout / "dags/environments" / f"{ENVIRONMENT}.yaml"
    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    del facts["fleets"]["worker"]
    facts["fleets"][FLEET] |= {
        "waves": [1, "50%", "100%"],
        "capacity_timeout": f"{CAPACITY_TIMEOUT_SECONDS}s",
        "gate": {"http": {"path": "/"}},
        "drain": {**facts["fleets"][FLEET]["drain"], "timeout": f"{DRAIN_TIMEOUT_SECONDS}s"},
    }
    file.write_text(yaml.safe_dump(facts), encoding="utf-8")
    variables = checkout / "terraform/environments" / ENVIRONMENT / "terraform.tfvars"
    text = variables.read_text(encoding="utf-8")
    start, end = text.index("  worker = {"), text.index("  web = {")
    text = text[:start] + text[end:]
    for size, ours in (("min_size      = 2", SIZE), ("max_size      = 4", 2 * SIZE)):
        assert size in text
        text = text.replace(size, f"{size.rpartition(' ')[0]} {ours}")
    variables.write_text(text, encoding="utf-8")
