"""Settings of the forwarder, from its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

PREFIX = "FLUENTD_"


class SettingsError(Exception):
    """A setting is missing or wrong; the text names it."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each field is read from the environment variable ``FLUENTD_<NAME>``; one without a default is required.

    The listening addresses are `localhost`, as in Fluentd's documentation.
    """

    collector_url: str
    shared_key: str = ""
    tail_path: Path = Path("/var/log/web/access.log")
    pos_file: Path = Path("/var/log/fluentd/access.pos")
    buffer_path: Path = Path("/var/lib/fluentd/buffer")
    address: str = "localhost"
    rpc_port: int = 24444
    monitor_port: int = 24220
    refresh_interval_seconds: float = 0.2
    # So long that only a flush that was asked for sends lines: a drain that forgets it loses them visibly.
    flush_interval_seconds: float = 3600.0
    chunk_limit_bytes: int = 8 * 1024 * 1024
    retry_wait_seconds: float = 1.0
    retry_max_interval_seconds: float = 10.0
    request_timeout_seconds: float = 10.0


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings.

    :raises SettingsError: if one is missing, unknown or no number where a number is due.
    """
    known = {field.name: field for field in fields(Settings)}
    values: dict[str, str | Path | int | float] = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in known:
            raise SettingsError(f"there is no setting {variable}")
        values[name] = _convert(variable, str(known[name].type), text)
    if not values.get("collector_url"):
        raise SettingsError(f"{PREFIX}COLLECTOR_URL is missing")
    return Settings(**values)  # type: ignore[arg-type]  # converted by the declared type just above


def _convert(variable: str, kind: str, text: str) -> str | Path | int | float:
    converters: dict[str, Callable[[str], str | Path | int | float]] = {
        "str": str,
        "Path": Path,
        "int": int,
        "float": float,
    }
    try:
        return converters[kind](text)
    except ValueError as error:
        raise SettingsError(f"{variable} is {text!r}, expected a number") from error
