"""A copy of the repository with more than the demo needs: two fleets, and a second environment."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from demo.settings import COLLECTOR_PORT, ENVIRONMENT, ROOT

SECOND = "staging"
WORKER = "worker"
"""A fleet without a load balancer, beside `web`."""

_PARTS = ("dags", "plugins", "packer", "terraform")
_NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".terraform", ".ansible")
_WORKER_VARIABLES = """  worker = {
    instance_type = "t3.small"
    min_size      = 1
    max_size      = 2
    load_balanced = false
  }
"""


def copy(folder: Path, *, repository_port: int, collector_port: int) -> Path:
    """Copy what Airflow and Terraform read, and change the environments as a person would.

    :param folder: made; must not be there.
    :param repository_port: where the application's repository is served: not where a demo serves its own.
    :param collector_port: where the images' forwarder delivers to.
    :return: the folder.
    """
    for part in _PARTS:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=_NOT_COPIED)
    first = _read(folder, ENVIRONMENT)
    url = urlsplit(first["application"]["repository"])
    first["application"]["repository"] = url._replace(netloc=f"{url.hostname}:{repository_port}").geturl()
    first["fleets"][WORKER] = first["fleets"]["web"]
    _write(folder, ENVIRONMENT, first)
    second = _read(folder, SECOND)
    # The same account, bucket, repository and connections; its own root module and state.
    _write(
        folder,
        SECOND,
        {key: value for key, value in {**second, **first}.items() if key != "aws_conn_id"}
        | {"terraform": second["terraform"], "fleets": {"web": first["fleets"]["web"]}},
    )
    variables = _variables(folder, ENVIRONMENT).read_text(encoding="utf-8")
    _variables(folder, SECOND).write_text(
        _replaced(variables, f'environment = "{ENVIRONMENT}"', f'environment = "{SECOND}"'), encoding="utf-8"
    )
    _variables(folder, ENVIRONMENT).write_text(
        _replaced(variables, "fleets = {\n", "fleets = {\n" + _WORKER_VARIABLES), encoding="utf-8"
    )
    # Both forwarders deliver to the same collector.
    group_vars = folder / "packer/provisioners/group_vars"
    theirs = (group_vars / ENVIRONMENT / "vars.yml").read_text(encoding="utf-8")
    for environment in (ENVIRONMENT, SECOND):
        own = _replaced(theirs, f":{COLLECTOR_PORT}/", f":{collector_port}/")
        (group_vars / environment / "vars.yml").write_text(own, encoding="utf-8")
    return folder


def _replaced(text: str, what: str, by: str) -> str:
    if what not in text:
        raise ValueError(f"the example's variables have no {what!r}")
    return text.replace(what, by)


def _variables(folder: Path, environment: str) -> Path:
    return folder / "terraform/environments" / environment / "terraform.tfvars"


def _file(folder: Path, environment: str) -> Path:
    return folder / "dags/environments" / f"{environment}.yaml"


def _read(folder: Path, environment: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(_file(folder, environment).read_text(encoding="utf-8"))
    return found


def _write(folder: Path, environment: str, facts: dict[str, Any]) -> None:
    _file(folder, environment).write_text(yaml.safe_dump(facts), encoding="utf-8")
