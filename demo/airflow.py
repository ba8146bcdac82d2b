"""Airflow on loopback: its settings, its four processes, and the wait until it is healthy.

`airflow standalone` is not used: its log servers listen on every interface, and it leaves children behind.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from demo import services
from demo.airflow_client import AirflowClient
from demo.settings import ACCESS_KEY, HOST, REGION, ROOT, VAULT_PASSWORD, DemoError, Settings
from tools import terraform_mirror

#: Four processes import Airflow at once, on two cores.
START_TIMEOUT_SECONDS = 240.0
POLL_SECONDS = 0.5
PROCESSES = {
    "api-server": ("api-server", "--host", HOST, "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}


def environment(settings: Settings) -> dict[str, str]:
    """Give the whole environment that Airflow's processes run in.

    What could lead to a real AWS account is taken out of it.

    :param settings: folders and ports.
    """
    aws = {
        "conn_type": "aws",
        "login": ACCESS_KEY,
        "password": ACCESS_KEY,
        "extra": {"endpoint_url": settings.endpoint_url, "region_name": REGION},
    }
    return {
        **plain_environment(),
        "AIRFLOW_HOME": str(settings.airflow_home),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_ANSIBLE_VAULT": json.dumps({"conn_type": "generic", "password": VAULT_PASSWORD}),
        **_options(settings),
    }


def plain_environment() -> dict[str, str]:
    """Give our environment without Airflow's settings and without what could lead to a real AWS account."""
    dropped = ("AWS_", "AIRFLOW", "PYTEST_", "PYTHONDONTWRITEBYTECODE")  # compiled once, it starts sooner
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    kept["NO_PROXY"] = kept["no_proxy"] = f"{HOST},localhost,127.0.0.0/8"
    return {
        **kept,
        terraform_mirror.SETTING: terraform_mirror.setting() or "",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _options(settings: Settings) -> dict[str, str]:
    options = {
        "CORE__DAGS_FOLDER": str(settings.checkout / "dags"),
        "CORE__PLUGINS_FOLDER": str(settings.checkout / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        # enough for four mapped drains beside other environments; the default would fork 32 workers
        "CORE__PARALLELISM": "6",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{settings.airflow_url}/execution/",
        # One writer at a time: on a busy machine the five seconds of sqlite3's default do not bring the turn.
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{settings.airflow_home}/airflow.db?timeout=60",
        "LOGGING__BASE_LOG_FOLDER": str(settings.airflow_home / "logs"),
        "LOGGING__COLORED_CONSOLE_LOG": "False",
        "API__BASE_URL": settings.airflow_url,
        "API__HOST": HOST,
        "API__PORT": str(settings.airflow_port),
        "API__EXPOSE_CONFIG": "False",
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # one person watches one run: tasks starting at once matter more than queries saved
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        # how late the end of a task's process may be noticed; what was deferred goes on only after it
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
        **settings.airflow_options,
    }
    return {f"AIRFLOW__{key}": value for key, value in options.items()}


def start(settings: Settings, variables: Mapping[str, str]) -> list[services.Service]:
    """Make the database and start Airflow's processes; :func:`wait` waits until they answer.

    :param settings: folders and ports.
    :param variables: the environment to run in, from :func:`environment`.
    :raises DemoError: if the database cannot be made.
    """
    settings.airflow_home.mkdir(parents=True, exist_ok=True)
    airflow = str(Path(sys.executable).parent / "airflow")
    migration = subprocess.run(
        [airflow, "db", "migrate"],
        env={**variables, **services.mark("airflow-migration", settings.build)},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if migration.returncode:
        raise DemoError(f"airflow db migrate failed with status {migration.returncode}:\n{migration.stdout}")
    return [start_process(settings, variables, name) for name in PROCESSES]


def start_process(settings: Settings, variables: Mapping[str, str], name: str) -> services.Service:
    """Start one of Airflow's processes, also one that has died.

    :param settings: folders and ports.
    :param variables: the environment that the others run in: they share secrets.
    :param name: a key of :data:`PROCESSES`.
    """
    airflow = str(Path(sys.executable).parent / "airflow")
    return services.start(f"airflow-{name}", [airflow, *PROCESSES[name]], variables, settings.build)


def wait(
    settings: Settings,
    started: list[services.Service],
    dag_id: str,
    say: Callable[[str], None],
    *,
    client: AirflowClient,
) -> AirflowClient:
    """Wait until every process is healthy and the DAG has been read.

    :param settings: folders and ports.
    :param started: Airflow's processes.
    :param dag_id: the DAG that will be run.
    :param say: takes a progress line.
    :param client: asks Airflow.
    :return: the client, which has logged in.
    :raises DemoError: if a process ends, a DAG file cannot be imported, or it takes too long.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    before = ""
    while True:
        for service in started:
            service.require_running()
        lacking = client.lacking(dag_id)
        if not lacking:
            return client
        errors = client.import_errors() if lacking.startswith("DAG") else []
        if errors:
            raise DemoError("DAG files that cannot be imported:\n" + "\n".join(errors))
        if lacking != before:
            say(f"Airflow: waiting for {lacking}")
            before = lacking
        if time.monotonic() > deadline:
            raise DemoError(
                f"Airflow is not ready after {START_TIMEOUT_SECONDS:.0f} s: {lacking}; see {settings.logs}"
            )
        time.sleep(POLL_SECONDS)
