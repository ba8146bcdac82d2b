"""Reading one value of a fault setting, with a refusal in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.faults.errors import FaultSettingError

Reader = Callable[[str, Any], Any]
"""Takes a field's name and value; returns the value as it is meant."""


def refuse(name: str, value: Any, expected: str) -> FaultSettingError:
    """Return the refusal of one value."""
    return FaultSettingError(f"{name} is {value!r}, expected {expected}")


def text(name: str, value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise refuse(name, value, "a text")
    return value


def whole(lowest: int) -> Reader:
    """Return a reader of whole numbers."""

    def read(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise refuse(name, value, f"a whole number, {lowest} or more")
        return value

    return read


def any_whole(name: str, value: Any) -> int:
    """Read a whole number, negative ones as well."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse(name, value, "a whole number")
    return value


def seconds(name: str, value: Any) -> float:
    """Read a duration in seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 86_400:
        raise refuse(name, value, "seconds, 0 to 86400")
    return float(value)


def rate(name: str, value: Any) -> float:
    """Read a share of calls."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1:
        raise refuse(name, value, "a number above 0 and up to 1")
    return float(value)


def one_of(*choices: str) -> Reader:
    """Return a reader of one of several words."""

    def read(name: str, value: Any) -> str:
        if value not in choices:
            raise refuse(name, value, f"one of {', '.join(choices)}")
        return str(value)

    return read


def read_all(kind: str, given: Mapping[str, Any], readers: Mapping[str, Reader]) -> dict[str, Any]:
    """Read the fields of one setting.

    :param kind: the fault's name, for refusals.
    :raises FaultSettingError: if one is unknown or has a wrong value.
    """
    unknown = sorted(set(given) - set(readers) - {"fault"})
    if unknown:
        message = f"fault {kind} has no field {unknown[0]}; its fields are {', '.join(sorted(readers))}"
        raise FaultSettingError(message)
    return {name: readers[name](name, value) for name, value in given.items() if name != "fault"}
