"""Read docker-compose.yaml as Docker Compose does, as far as that file goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.settings import DemoError

#: `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`: "Interpolation" in the Compose specification.
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z_][A-Z0-9_]*)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\}|(?P<other>.?))"
)
COMPLETED = "service_completed_successfully"
HEALTHY = "service_healthy"


@dataclass(frozen=True)
class Service:
    """What one container runs.

    :param user: `user id:group id`.
    :param mounts: folder in the container -> volume's name, or folder of this repository (`./…`).
    :param needs: service -> condition.
    :param health: the command of the health check; empty without one.
    :param runs_on: whether it is to run until it is stopped, and not to complete.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: str
    mounts: Mapping[str, str]
    needs: Mapping[str, str]
    health: tuple[str, ...]
    runs_on: bool


def load(file: Path, profile: str, variables: Mapping[str, str]) -> dict[str, Service]:
    """Read the services that a profile starts.

    :param file: the Compose file.
    :param profile: the only profile that is on.
    :param variables: what `.env` or the environment would set.
    :raises DemoError: if a variable that must be set is not.
    """
    document = interpolate(yaml.safe_load(file.read_text(encoding="utf-8")), variables)
    return {
        name: _service(name, definition)
        for name, definition in document["services"].items()
        if profile in definition.get("profiles", [profile])
    }


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Put variables into every text of a document.

    :param value: a text, or lists and mappings of such.
    :param variables: name -> value.
    :raises DemoError: if one that must be set is not, or the form is one that this does not know.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found, variables), value)
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    return value


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    if found["name"] is None:
        raise DemoError(f"docker-compose.yaml: {found[0]!r} is no variable; write $$ for a dollar sign")
    value = variables.get(found["name"], "")
    if value or found["how"] is None:
        return value
    if found["how"] == ":?":
        raise DemoError(f"docker-compose.yaml: {found['rest']}")
    return str(found["rest"])


def _service(name: str, definition: Mapping[str, Any]) -> Service:
    needs = definition.get("depends_on", {})
    mounts = {}
    for each in definition.get("volumes", []):
        source, target = each.split(":")[:2]
        mounts[target] = source
    return Service(
        name=name,
        image=definition["image"],
        command=tuple(definition["command"]),
        environment={key: str(value) for key, value in definition.get("environment", {}).items()},
        user=definition["user"],
        mounts=mounts,
        needs={other: how["condition"] for other, how in needs.items()},
        health=_health(definition.get("healthcheck", {}).get("test", [])),
        runs_on=definition["restart"] != "no" or bool(definition.get("healthcheck")),
    )


def _health(test: list[str]) -> tuple[str, ...]:
    if not test:
        return ()
    if test[0] == "CMD-SHELL":
        return ("/bin/sh", "-c", test[1])
    return tuple(test[1:])
