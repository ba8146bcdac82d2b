"""All that the demo runs on: sandbox, network, repository, log collector, Airflow. Started and stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from demo import airflow, infrastructure, repository, services
from demo.account import Account
from demo.airflow_client import AirflowClient
from demo.settings import (
    DAG_ID,
    DRAIN_DAG_ID,
    HOST,
    ROOT,
    DemoError,
    Environment,
    Settings,
    environment,
    require_free,
)

POLL_SECONDS = 0.5
STOPPED_POLL_SECONDS = 3.0
#: What a demo leaves in its folder; the next one starts without it.
LEFTOVERS = ("airflow", "collector", "load", "logs", "repositories", "terraform")


@dataclass(frozen=True)
class Ground:
    """The account's side of a deployment, running.

    :param repository: the working tree of the application's repository.
    :param being_made: what Terraform is still making.
    """

    account: Account
    repository: Path
    being_made: tuple[Future[None], ...]


@dataclass(frozen=True)
class Stage:
    """All that is running, ready for deployments.

    :param being_made: what Terraform is still making: the network, and the last of the state bucket's rules.
    :param variables: the environment that Airflow's processes run in.
    """

    settings: Settings
    client: AirflowClient
    account: Account
    repository: Path
    being_made: tuple[Future[None], ...]
    variables: Mapping[str, str] = field(repr=False, default_factory=dict)

    def settle(self) -> None:
        """Wait for what is still being made.

        :raises DemoError: if Terraform fails.
        """
        for each in self.being_made:
            each.result()


def start(settings: Settings, say: Callable[[str], None]) -> Stage:
    """Start everything, from an empty account.

    :param settings: folders and ports.
    :param say: takes a progress line.
    :raises DemoError: if a port is taken or a part does not come up; the sandbox may go on running then.
    """
    facts = environment(settings.checkout)
    stop(settings, say)
    airflow_port = {"Airflow, BAKEROLL_AIRFLOW_PORT chooses another": settings.airflow_port}
    require_free({**ports(settings, facts), **airflow_port})
    clear(settings)
    variables = airflow.environment(settings)
    beside = ThreadPoolExecutor(max_workers=3)
    try:
        say("Airflow: making its database, starting its processes")
        starting = beside.submit(airflow.start, settings, variables)
        ground = prepare(settings, facts, say, beside)
        started, client = starting.result(), AirflowClient(settings.airflow_url)
        for dag_id in (DAG_ID, DRAIN_DAG_ID):
            airflow.wait(settings, started, dag_id, say, client=client)
            client.unpause(dag_id)
    except BaseException:
        services.stop(settings.build)  # what a thread waits for ends, and so the thread
        beside.shutdown(cancel_futures=True)
        services.stop(settings.build)
        raise
    beside.shutdown(wait=False)
    say(f"Airflow is ready: {settings.airflow_url}")
    return Stage(settings, client, ground.account, ground.repository, ground.being_made, variables)


def play_account(settings: Settings, say: Callable[[str], None]) -> None:
    """Start what the demo deploys to and from, but no Airflow, and keep it until somebody stops it.

    :param settings: folders and ports; the file `ready` tells others that all of it is there.
    :param say: takes a progress line.
    :raises DemoError: if a port is taken or a part does not come up.
    """
    facts = environment(settings.checkout)
    stop(settings, say)
    require_free(ports(settings, facts))
    clear(settings)
    with ThreadPoolExecutor(max_workers=2) as beside:
        try:
            for each in prepare(settings, facts, say, beside).being_made:
                each.result()
        except BaseException:
            services.stop(settings.build)
            raise
    ready(settings).touch()
    say(f"the account is ready: {settings.endpoint_url}")
    wait_until_stopped(settings)


def ports(settings: Settings, facts: Environment) -> dict[str, int]:
    """Name the ports that the account's side listens on.

    :param settings: folders and ports.
    :param facts: of the environment that is deployed.
    """
    return {
        "sandbox, BAKEROLL_SANDBOX_PORT chooses another": settings.sandbox_port,
        "git, application.repository in dags/environments/development.yaml": facts.repository_port,
        "log collector, the images deliver there": settings.collector_port,
    }


def ready(settings: Settings) -> Path:
    """Name the file that says that the account is ready.

    :param settings: folders and ports.
    """
    return settings.build / "ready"


def clear(settings: Settings) -> None:
    """Remove what an earlier demo left in its folder.

    :param settings: folders and ports.
    """
    ready(settings).unlink(missing_ok=True)
    for name in LEFTOVERS:
        shutil.rmtree(settings.build / name, ignore_errors=True)


def prepare(
    settings: Settings, facts: Environment, say: Callable[[str], None], beside: ThreadPoolExecutor
) -> Ground:
    """Start the account's side: sandbox, repository, collector; Terraform goes on beside.

    :param settings: folders and ports.
    :param facts: of the environment that is deployed.
    :param say: takes a progress line.
    :param beside: runs Terraform, twice at once.
    :raises DemoError: if a part does not come up.
    """
    account = Account(settings.endpoint_url)
    working_tree = _serve(settings, facts)
    sandbox(settings, "up", say)
    say("Terraform: making the state bucket")
    bucket = beside.submit(infrastructure.bootstrap, settings, facts.state_bucket)
    while not (bucket.done() or account.has_bucket(facts.state_bucket)):
        time.sleep(POLL_SECONDS)
    say("Terraform: making the shared network")
    # Needed by the first plan, which comes after three bakes: it is made while Airflow starts and bakes.
    network = beside.submit(infrastructure.network, settings, facts.state_bucket)
    return Ground(account, working_tree, (network, bucket))


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """End everything that was started here, by whichever process.

    :param settings: folders and ports.
    :param say: takes a progress line.
    :raises DemoError: if something cannot be ended.
    """
    stopped = services.stop(settings.build)
    if stopped:
        say(f"stopped {', '.join(stopped)}")
    sandbox(settings, "down", say)


def wait_until_stopped(settings: Settings) -> None:
    """Wait until somebody stops what was started, as `make down` in another terminal does.

    :param settings: folders and ports.
    """
    while services.running(settings.build):
        time.sleep(STOPPED_POLL_SECONDS)


def sandbox(settings: Settings, command: str, say: Callable[[str], None]) -> None:
    """Run one of the sandbox's own commands.

    :param settings: folders and ports.
    :param command: `up`, which waits until it is ready, or `down`.
    :param say: takes each line of its output.
    :raises DemoError: if it fails.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", command],
        cwd=ROOT,
        env={
            **os.environ,
            "BAKEROLL_SANDBOX_PORT": str(settings.sandbox_port),
            "BAKEROLL_SANDBOX_STATE": str(settings.build / "sandbox"),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # Ctrl-C is for us; we then take the sandbox down
    )
    if process.stdout is None:  # cannot be: it was opened with a pipe
        raise RuntimeError("the sandbox was started without a pipe")
    with process.stdout as output:
        for text in output:
            say(text.rstrip())
    if process.wait():
        raise DemoError(f"`python -m sandbox {command}` failed with status {process.returncode}")


def _serve(settings: Settings, facts: Environment) -> Path:
    """Make the application's repository and serve it; start the collector."""
    start_collector(settings)
    settings.repositories.mkdir(parents=True)
    working_tree = settings.repositories / facts.repository_name
    repository.create(working_tree, repository.download_wheels(_cache() / "wheels"))
    command = repository.daemon_command(settings.repositories, address=HOST, port=facts.repository_port)
    services.start("git-daemon", command, _plain(), settings.build)
    return working_tree


def start_collector(settings: Settings) -> services.Service:
    """Start what takes the instances' log lines, also once more.

    :param settings: folders and ports.
    """
    options = ["--port", str(settings.collector_port), "--file", str(settings.collected)]
    argv = [sys.executable, "-m", "demo.collector", *options]
    return services.start("collector", argv, _plain(), settings.build)


def _plain() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def _cache() -> Path:
    """Give the folder of what every demo may reuse, shared between clones."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BAKEROLL_CACHE") or base / "bakeroll")
