"""The settings that stand, by id; what hits is drawn here, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from sandbox.faults.errors import FaultSettingError
from sandbox.faults.rule import Rule

Kind = TypeVar("Kind", bound=Rule)


class Board:
    """Settings and the parts they consist of; safe to use from several threads.

    :param random: draws what is hit.
    """

    def __init__(self, random: Random) -> None:
        self._lock = threading.Lock()
        self._random = random
        self._shown: dict[int, Rule] = {}
        self._parts: dict[type[Rule], dict[int, Any]] = {}
        self._last_id = 0

    def add(self, shown: Rule, *parts: Rule) -> int:
        """Keep a setting.

        :param shown: as it is listed.
        :param parts: what it consists of, one of a kind, if that is not itself.
        :return: its id.
        """
        with self._lock:
            self._last_id += 1
            self._shown[self._last_id] = shown
            for part in parts or (shown,):
                self._parts.setdefault(type(part), {})[self._last_id] = part
            return self._last_id

    def shapes(self) -> list[dict[str, Any]]:
        """Return what is set, with how often each hit so far."""
        with self._lock:
            return [{"id": number, **rule.shape()} for number, rule in self._shown.items()]

    def stands(self, number: int) -> bool:
        """Tell whether a setting is still there."""
        return number in self._shown

    def clear(self, number: int | None = None) -> None:
        """Remove one setting, or all.

        :raises FaultSettingError: if there is none with this id.
        """
        with self._lock:
            if number is not None and number not in self._shown:
                those = ", ".join(map(str, self._shown)) or "none"
                message = f"there is no fault {number}; those set are {those}"
                raise FaultSettingError(message)
            for each in list(self._shown) if number is None else [number]:
                self._remove(each)

    def has(self, kind: type[Rule]) -> bool:
        """Tell whether any setting has a part of a kind."""
        return bool(self._parts.get(kind))

    def standing(self, kind: type[Kind], test: Callable[[Kind], bool]) -> list[Kind]:
        """Return the parts of a kind that pass a test, whether or not they would hit now."""
        with self._lock:
            return [part for part in self._parts.get(kind, {}).values() if test(part)]

    def hit(self, kind: type[Kind], test: Callable[[Kind], bool]) -> Kind | None:
        """Return the first part of a kind that passes a test and hits now, in the order they were set."""
        with self._lock:
            parts: dict[int, Kind] = self._parts.get(kind, {})
            for number, part in parts.items():
                if test(part) and part.strikes(self._random):
                    if part.spent:
                        self._remove(number)
                    return part
            return None

    def discard(self, number: int) -> None:
        """Remove one setting; harmless if it is gone."""
        with self._lock:
            if number in self._shown:
                self._remove(number)

    def _remove(self, number: int) -> None:
        self._shown.pop(number).end()
        for parts in self._parts.values():
            parts.pop(number, None)
