"""One stage for all kills: a deployed fleet under load, and tasks that die in the middle of what they do."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo import airflow, collector, log_lines, repository, services, stage, traffic, watch
from demo.account import Account
from demo.airflow_client import Task
from demo.log_lines import Comparison
from demo.settings import DAG_ID, Settings
from demo.stage import Stage
from sandbox.client import Client
from tests.end_to_end.conftest import own_settings, require_everything
from tests.kills import inventory, processes

HEARTBEAT_TIMEOUT = 30
"""Seconds until the scheduler takes a task that says nothing for dead; Airflow's default is 300."""
PATIENCE_SECONDS = 600.0
LOOK_SECONDS = 0.02
SERVICES = ("triggerer", "scheduler")
AWAITED, DRAINED = "web.wave_1.await_capacity", "web.wave_1.drain"
"""Scale-out and drain as they wait in the triggerer."""

Ready = Callable[[], bool]


@dataclass(frozen=True)
class Killed:
    """A process that was killed in the middle of its work.

    :param state: what Airflow held the task for at that moment.
    :param count: how many processes died with it.
    """

    what: str
    state: str | None
    count: int


@dataclass
class Kills:
    """Deploys and kills.

    :param settings: of the stage.
    :param say: takes a progress line.
    """

    running: Stage
    settings: Settings
    say: Callable[[str], None]
    killed: list[Killed] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    _versions: int = 1

    def change(self) -> None:
        """Commit a new version of the application."""
        self._versions += 1
        repository.commit_version(self.running.repository, self._versions)

    @property
    def version(self) -> str:
        """The newest version."""
        return str(self._versions)

    def begin(self) -> str:
        """Start a run."""
        run_id = self.running.client.trigger(DAG_ID, {})
        self.say(f"run {run_id}")
        return run_id

    def finish(self, name: str, run_id: str) -> None:
        """Wait for the end of a run."""
        run, _ = watch.follow(self.running.client, DAG_ID, run_id, self.say)
        self.outcomes[name] = run.state

    def mark_failed(self, run_id: str) -> None:
        """End a run as a person does who wants to begin anew."""
        self.running.client.mark_failed(DAG_ID, run_id)
        self.say(f"{run_id} is marked failed")

    def kill_task(self, run_id: str, task_id: str, ready: Ready) -> None:
        """Kill a task, its supervisor, and all that it started.

        :param ready: tells whether it is in the middle of its work; asked often.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            # Its try gets another name when it is retried, so that is asked again and again.
            task = self._task(run_id, task_id)
            pid = processes.runs(task.uuid) if task else None
            while task and pid and not ready():
                if processes.runs(task.uuid) is None:
                    pid = None
            if task and pid:
                count = len(processes.kill_hard(pid))
                self._note(task_id, self._task(run_id, task_id), count)
                return
            assert task is None or task.state not in {"success", "failed"}, f"{task_id} was quicker: {task}"
            assert time.monotonic() < deadline, f"{task_id} was not reached"
            time.sleep(LOOK_SECONDS)

    def kill_airflow(self, run_id: str, task_id: str) -> None:
        """Kill triggerer and scheduler while a task is deferred, and start them again.

        The workers are the scheduler's children and die with it.
        """
        self._await(lambda: self._deferred(run_id, task_id) is not None, f"{task_id} to be deferred")
        for name in SERVICES:
            task = self._deferred(run_id, task_id)
            mine = services.running(self.settings.build)
            doomed = min(pid for pid, service in mine.items() if service == f"airflow-{name}")
            count = len(processes.kill_hard(doomed, with_parent=False))
            self._note(f"{name} during {task_id}", task, count)
            airflow.start_process(self.settings, self.running.variables, name)

    def _task(self, run_id: str, task_id: str) -> Task | None:
        tasks = self.running.client.tasks(DAG_ID, run_id)
        return next((task for task in tasks if task.task_id == task_id), None)

    def _deferred(self, run_id: str, task_id: str) -> Task | None:
        tasks = self.running.client.tasks(DAG_ID, run_id)
        return next((one for one in tasks if one.state == "deferred" and one.task_id == task_id), None)

    def _note(self, what: str, task: Task | None, count: int) -> None:
        self.killed.append(Killed(what, task.state if task else None, count))
        self.say(f"killed {what} and {count - 1} processes with it; Airflow: {task.state if task else None}")

    def _await(self, what: Ready, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not what():
            assert time.monotonic() < deadline, f"waited for {words}"
            time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Outcome:
    """What is left to look at when all kills are over; everything still runs.

    :param before: what there was after the first deployment.
    :param after: what there is at the end.
    :param failures: requests that were not answered during all kills.
    """

    kills: Kills
    before: dict[str, Any]
    after: dict[str, Any]
    failures: tuple[str, ...]
    lines: Comparison
    said: list[str]
    versions: dict[str, set[str]]

    def account(self, fleet: str = "web") -> Account:
        """Look at a fleet."""
        return Account(self.kills.settings.endpoint_url, fleet=fleet)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kills)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Deploy once, then kill everything once, all of it under load."""
    require_everything()
    folder = tmp_path_factory.mktemp("kills")
    (folder / "tmp").mkdir()
    settings = own_settings(
        folder,
        SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=str(HEARTBEAT_TIMEOUT),
        SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL="3",
        SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC="3",
        # A scheduler that was killed is missed for so long; its successor then takes over its tasks.
        SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD="30",
        SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL="10",
        TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD="20",
    )
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))  # what is left there is left by this stage
        try:
            kills = Kills(stage.start(settings, say), settings, say)
            yield run(kills, said)
        finally:
            stage.stop(settings, print)


def run(kills: Kills, said: list[str]) -> Outcome:
    """Go through all kills."""
    kills.finish("first deployment", kills.begin())
    kills.running.settle()
    before = inventory.count(kills.settings)
    url = kills.running.account.load_balancer_url()
    load = traffic.LoadProcess(kills.settings, url, "kills")
    retried(kills)
    begun_anew(kills)
    summary = load.end()
    probes = traffic.probe(url)
    addresses = [each.private_ip for each in kills.running.account.instances()]
    answered = summary.answered | probes.answered
    lines = log_lines.bring_in(addresses, answered, lambda: collector.request_ids(kills.settings.collected))
    return Outcome(
        kills,
        before,
        inventory.count(kills.settings),
        (*summary.errors, *probes.failures),
        lines,
        said,
        dict(probes.versions),
    )


def retried(kills: Kills) -> None:
    """Kill what one run does, each task once and Airflow besides: the run goes on by itself."""
    settings = kills.settings
    versions = inventory.template_versions(settings)
    kills.change()
    run_id = kills.begin()
    kills.kill_task(run_id, "layers.bake_application", lambda: inventory.of_bakes(settings) > 0)
    kills.kill_task(run_id, "terraform.plan", lambda: terraform_at("plan", settings))
    kills.kill_task(
        run_id,
        "terraform.apply",
        lambda: terraform_at("apply", settings) and inventory.template_versions(settings) > versions,
    )
    faults = Client(settings.sandbox_port)
    # Both waits last until they were hit: new instances do not get healthy, and then nobody takes the lines.
    faults.set_fault(fault="unhealthy", image=inventory.newest_image(settings), reason="Target.Timeout")
    kills.kill_airflow(run_id, AWAITED)
    services.stop(settings.build, only="collector")
    faults.clear_faults()
    kills.kill_airflow(run_id, DRAINED)
    stage.start_collector(settings)
    kills.finish("retried", run_id)


def begun_anew(kills: Kills) -> None:
    """Kill the rollout's own steps, and leave the rest to another run, to a retry, and to another run."""
    settings = kills.settings
    commands = inventory.drain_commands(settings)
    kills.change()
    first = kills.begin()
    kills.kill_task(first, "web.wave_1.scale_out", lambda: inventory.noted(settings, "surge"))
    kills.mark_failed(first)
    second = kills.begin()
    kills.kill_task(second, "web.wave_1.retire", lambda: inventory.noted(settings, "retired"))
    kills.kill_task(second, "web.wave_1.drain", lambda: inventory.drain_commands(settings) > commands)
    kills.mark_failed(second)
    kills.finish("begun anew", kills.begin())


def terraform_at(what: str, settings: Settings) -> bool:
    """Tell whether a Terraform is at it."""
    running = processes.commands(inventory.temporary(settings), "terraform")
    return any(f" {what} " in line for line in running)
