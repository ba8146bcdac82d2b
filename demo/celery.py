"""The demo's deployments through Celery, Postgres and Redis: docker-compose.yaml without containers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from compose.make_secrets import ADMIN
from demo import airflow, services, stage
from demo.account import Account
from demo.airflow_client import AirflowClient
from demo.containers import Containers, account_side, remove_shared_folder
from demo.report import Check
from demo.settings import DAG_ID, DemoError, Settings, environment, free_port, require_free
from demo.three_runs import ThreeRuns

#: Celery's line for a task that it has run to its end.
_RAN = re.compile(r"Task .*execute_workload.* succeeded|succeeded in .*execute_workload")


def start(settings: Settings, say: Callable[[str], None]) -> tuple[stage.Stage, Containers]:
    """Start every service of the Compose file's profile `sandbox`.

    :param settings: folders and ports.
    :param say: takes a progress line.
    :raises DemoError: if a port is taken or a service does not come up.
    """
    facts = environment()
    stop(settings, say)
    inner = account_side(settings)
    require_free(
        {
            "Airflow, BAKEROLL_AIRFLOW_PORT chooses another": settings.airflow_port,
            **stage.ports(inner, facts),
        }
    )
    stage.clear(settings)
    ports = {"postgres": free_port(), "redis": free_port(), "api-server": settings.airflow_port}
    containers = Containers(settings, ports, airflow.plain_environment(), say)
    containers.start()
    client = AirflowClient(settings.airflow_url, login=lambda: (ADMIN, _password(containers.secrets)))
    airflow.wait(settings, list(_lasting(containers)), DAG_ID, say, client=client)
    say(f"Airflow is ready: {settings.airflow_url}")
    client.unpause(DAG_ID)
    repository = inner.repositories / facts.repository_name
    return stage.Stage(inner, client, Account(inner.endpoint_url), repository, ()), containers


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """End everything that was started here, by whichever process.

    :param settings: folders and ports.
    :param say: takes a progress line.
    :raises DemoError: if something cannot be ended.
    """
    try:
        stage.stop(account_side(settings), say)  # its machines end in order before their server is ended
    finally:
        stopped = services.stop(settings.build)
        if stopped:
            say(f"stopped {', '.join(stopped)}")
        remove_shared_folder(settings)


def checks(runs: ThreeRuns, containers: Containers) -> list[Check]:
    """Tell what had to hold besides what the demo promises.

    :param runs: what was deployed.
    :param containers: what ran it.
    """
    log = containers.running["worker-sandbox"].log.read_text(encoding="utf-8", errors="replace")
    ran = len(_RAN.findall(log))
    wanted = sum(len(each.ran) for each in runs.deployments)
    shown = sorted(exposures(containers))
    return [
        Check("the Celery worker ran the tasks", ran >= wanted, f"it ran {ran}, {wanted} have succeeded"),
        Check("no secret is in a log, an argument or an environment", not shown, "; ".join(shown)),
    ]


def exposures(containers: Containers) -> Iterator[str]:
    """Look for each generated secret where others would find it.

    :param containers: what runs.
    """
    secrets = {
        file.name: value
        for file in containers.secrets.rglob("*")
        if file.is_file()
        for value in re.findall(r"[\w-]{32,}=?", file.read_text(encoding="utf-8"))
    }
    if not secrets:
        raise DemoError(f"no secret in {containers.secrets}")
    build = containers.settings.build
    logs = [*containers.settings.airflow_home.rglob("*.log"), *containers.settings.logs.glob("*.log")]
    places = {str(file): file for file in logs}
    for pid, service in services.running(build).items():
        places |= {f"{what} of {service}": Path(f"/proc/{pid}/{what}") for what in ("cmdline", "environ")}
    for where, file in places.items():
        try:
            content = file.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # that process has ended
        for name, value in secrets.items():
            if value.encode() in content:
                yield f"{name} is in {where}"


def _lasting(containers: Containers) -> Iterator[services.Service]:
    for service in containers.running.values():
        if service.process.poll() is None:
            yield service


def _password(secrets: Path) -> str:
    return str(json.loads((secrets / "login/passwords.json").read_text(encoding="utf-8"))[ADMIN])
