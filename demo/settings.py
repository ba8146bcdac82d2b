"""Where the demo keeps its things and on which loopback ports its parts listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
ENVIRONMENT = "development"
#: Its fleet behind the load balancer.
FLEET = "web"
DAG_ID = f"rolling_deployment_{ENVIRONMENT}"
#: Drains what terminates outside deployments.
DRAIN_DAG_ID = f"drain_terminating_{ENVIRONMENT}"
REGION = "ap-northeast-1"
ACCOUNT_ID = "123456789012"
#: The sandbox takes any credentials; these are no secret. Deployments act with this key and nothing else
#: does, so that the sandbox's count of its calls tells what its IAM policies must allow.
ACCESS_KEY = "sandbox"
#: The key of the person who makes bucket and network beforehand, and of the demo that looks on.
OPERATOR_KEY = "operator"
#: Opens the repository's example secrets; a documented secret of the sandbox and of nothing else.
VAULT_PASSWORD = "sandbox-vault-password"  # noqa: S105
#: Where the log forwarder of development's images delivers to (group_vars/development).
COLLECTOR_PORT = 8399


class DemoError(Exception):
    """Something the demo needs did not come about; the message is for the person in front of the terminal."""


@dataclass(frozen=True)
class Settings:
    """Folders and ports of one demo.

    :param build: everything that the demo writes lies below it.
    :param checkout: the repository whose DAGs, plugins and Terraform are used; this one, but for a test
        that needs other environments.
    :param collector_port: where the log forwarder of that checkout's images delivers to.
    :param airflow_options: Airflow's settings that differ, without the prefix: ``SCHEDULER__…`` -> value.
    """

    build: Path
    sandbox_port: int
    airflow_port: int
    checkout: Path = ROOT
    collector_port: int = COLLECTOR_PORT
    airflow_options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_environment(cls) -> Settings:
        """Read BAKEROLL_BUILD, BAKEROLL_SANDBOX_PORT and BAKEROLL_AIRFLOW_PORT, each with a default."""
        return cls(
            build=Path(os.environ.get("BAKEROLL_BUILD", ROOT / "build")).resolve(),
            sandbox_port=_port("BAKEROLL_SANDBOX_PORT", 4566),
            airflow_port=_port("BAKEROLL_AIRFLOW_PORT", 8080),
        )

    @property
    def endpoint_url(self) -> str:
        """The sandbox's AWS endpoint."""
        return f"http://{HOST}:{self.sandbox_port}"

    @property
    def airflow_url(self) -> str:
        """Airflow's UI and API."""
        return f"http://{HOST}:{self.airflow_port}"

    @property
    def airflow_home(self) -> Path:
        """Airflow's database and logs."""
        return self.build / "airflow"

    @property
    def repositories(self) -> Path:
        """The folder whose git repositories are served."""
        return self.build / "repositories"

    @property
    def collected(self) -> Path:
        """The file that the collector appends each received log line to."""
        return self.build / "collector" / "lines.jsonl"

    @property
    def logs(self) -> Path:
        """Logs of the services themselves."""
        return self.build / "logs"


@dataclass(frozen=True)
class Environment:
    """What the demo reads from the environment file that it deploys."""

    repository_host: str
    repository_port: int
    repository_name: str
    state_bucket: str
    terraform_root: Path


def environment(checkout: Path = ROOT) -> Environment:
    """Read `dags/environments/development.yaml`, so that the demo serves what the DAG will ask for.

    :param checkout: the repository that it lies in.
    :raises DemoError: if its application is not fetched from this machine.
    """
    file = checkout / "dags" / "environments" / f"{ENVIRONMENT}.yaml"
    facts = yaml.safe_load(file.read_text(encoding="utf-8"))
    url = urlsplit(facts["application"]["repository"])
    if url.scheme != "git" or url.hostname != HOST:
        raise DemoError(
            f"{file.name}: application.repository is {url.geturl()}, expected git://{HOST}[:port]/name"
        )
    return Environment(
        repository_host=HOST,
        repository_port=url.port or 9418,
        repository_name=url.path.strip("/"),
        state_bucket=facts["state_bucket"],
        terraform_root=checkout / facts["terraform"]["root"],
    )


def require_free(ports: dict[str, int]) -> None:
    """Look whether nothing listens on the ports that will be used.

    :param ports: what a port is for and how to choose another -> its number.
    :raises DemoError: naming every one that is taken.
    """
    taken = [
        f"{HOST}:{port} is taken by another program ({purpose})"
        for purpose, port in ports.items()
        if _taken(port)
    ]
    if taken:
        raise DemoError("; ".join(taken))


def free_port() -> int:
    """Name a port that nothing listens on."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _port(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal() or not 0 < int(value) < 65536:
        raise DemoError(f"{name} is {value!r}, expected a port number")
    return int(value)
