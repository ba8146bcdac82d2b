"""One stage for all end-to-end tests: Airflow, sandbox and real machines, started once and used in turn."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from demo import stage, watch
from demo.account import Account
from demo.airflow_client import Run, Task
from demo.report import Check
from demo.settings import DAG_ID, ENVIRONMENT, DemoError, Settings
from demo.three_runs import ThreeRuns
from tests.end_to_end import checkout
from tests.kills import processes
from tests.secrets_of_demo import demo_secrets
from tests.secrets_watch import SecretsWatch
from tools import set_up

LAST = "test_stopping.py"
"""It ends what the others look at."""
WATCH_PAUSE_SECONDS = 0.05
"""Tools live for seconds; looking more often would cost what the machines need."""
_PIDS = re.compile(r"pid=(\d+)")
SECOND_DAG = f"rolling_deployment_{checkout.SECOND}"


@dataclass(frozen=True)
class Outcome:
    """What the three runs left to look at; everything still runs.

    :param second: the first run of the second environment, which began together with the first one's.
    :param watch: looked for secrets in all processes meanwhile.
    """

    settings: Settings
    runs: ThreeRuns
    checks: list[Check]
    second: tuple[Run, list[Task]]
    listeners: list[str]
    said: list[str]
    watch: SecretsWatch
    dag_id: str = DAG_ID

    def account(self, environment: str = ENVIRONMENT, fleet: str = "web") -> Account:
        """Look at another fleet."""
        return Account(self.settings.endpoint_url, environment, fleet)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.end_to_end)
            item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: item.path == here / LAST)


def own_settings(folder: Path, **airflow_options: str) -> Settings:
    """Give a stage ports and a checkout of its own, so that a demo may run meanwhile.

    :param airflow_options: Airflow's settings that differ.
    """
    with ExitStack() as held:  # all at once, so that they differ
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        sandbox, airflow, repository, collector = (int(probe.getsockname()[1]) for probe in probes)
    return Settings(
        build=folder / "build",
        sandbox_port=sandbox,
        airflow_port=airflow,
        checkout=checkout.copy(folder / "checkout", repository_port=repository, collector_port=collector),
        collector_port=collector,
        airflow_options=airflow_options,
    )


def listeners(build: Path | None = None) -> set[str]:
    """Give every address that something on this machine listens on.

    :param build: a stage's folder: only what its own processes listen on, as another may run meanwhile.
    """
    answer = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True)
    found = {line.split()[3]: set(map(int, _PIDS.findall(line))) for line in answer.stdout.splitlines()}
    if build is None:
        return set(found)
    own = processes.started_by(str(build))
    return {address for address, pids in found.items() if pids & own}


def require_everything() -> None:
    missing = "; ".join(str(each) for each in set_up.judge("demo")[0])
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing is skipped: {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """Deploy as the demo does, with a second environment that starts at the same moment."""
    require_everything()
    settings = own_settings(tmp_path_factory.mktemp("demo"))
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        sys.stdout.write(f"{text}\n")

    try:
        with SecretsWatch(demo_secrets(), WATCH_PAUSE_SECONDS) as watch:
            started = stage.start(settings, say)
            started.client.unpause(SECOND_DAG)
            run_id = started.client.trigger(SECOND_DAG, {})
            with ThreadPoolExecutor(max_workers=1) as beside:
                second = beside.submit(_follow_second, started, run_id, say)
                # The change is deployed under load when the second environment is quiet again.
                runs = ThreeRuns(replace(started, being_made=(*started.being_made, _done(second))), say)
                try:
                    checks = runs.run()
                except DemoError as error:
                    checks = [Check("the three runs come to their end", held=False, evidence=str(error))]
                found = sorted(listeners(settings.build))
        yield Outcome(settings, runs, checks, second.result(), found, said, watch)
    finally:
        stage.stop(settings, print)


def _follow_second(started: stage.Stage, run_id: str, say: Callable[[str], None]) -> tuple[Run, list[Task]]:
    return watch.follow(started.client, SECOND_DAG, run_id, lambda text: say(f"{checkout.SECOND}: {text}"))


def _done(future: Future[tuple[Run, list[Task]]]) -> Future[None]:
    """Give a future that ends with another, without its result."""
    ended: Future[None] = Future()

    def end(it: Future[tuple[Run, list[Task]]]) -> None:
        if error := it.exception():
            ended.set_exception(error)
        else:
            ended.set_result(None)

    future.add_done_callback(end)
    return ended
