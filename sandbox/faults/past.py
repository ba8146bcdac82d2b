"""Answers from some seconds ago, for describes that are eventually consistent."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any


class Past:
    """Remembers what each call was answered, for as long as a fault may need it; safe in several threads.

    :param now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._answers: dict[Hashable, deque[tuple[float, Any]]] = {}

    def remember(self, key: Hashable, answer: Any, seconds: float) -> None:
        """Keep an answer given now.

        :param seconds: older ones to the same call are forgotten.
        """
        with self._lock:
            kept = self._answers.setdefault(key, deque())
            kept.append((self._now(), answer))
            self._forget(kept, seconds)

    def oldest(self, key: Hashable, seconds: float) -> tuple[Any] | None:
        """Return the oldest answer to a call that is no older than some seconds; None if there is none."""
        with self._lock:
            kept = self._answers.get(key)
            if kept is None:
                return None
            self._forget(kept, seconds)
            return (kept[0][1],) if kept else None

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._answers.clear()

    def _forget(self, kept: deque[tuple[float, Any]], seconds: float) -> None:
        while kept and kept[0][0] < self._now() - seconds:
            kept.popleft()
