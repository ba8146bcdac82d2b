"""Counts API calls by action, principal and tool."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from sandbox.wire.protocol import Call


class Calls:
    """How often who called what, and how often that was refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str, str, str, int]] = Counter()

    def add(self, call: Call, status: int) -> None:
        """Count one answered call."""
        with self._lock:
            self._counts[call.service, call.action, call.principal, call.tool, status] += 1

    def clear(self) -> None:
        """Begin at zero again."""
        with self._lock:
            self._counts.clear()

    def count(self, service: str, action: str, principal: str | None = None) -> int:
        """Return how often an action was called, by one principal or by all."""
        with self._lock:
            return sum(
                number
                for (of_service, of_action, by, _, _), number in self._counts.items()
                if (of_service, of_action) == (service, action) and principal in {None, by}
            )

    def table(self) -> list[dict[str, Any]]:
        """Return every count, as rows of service, action, principal, tool, status and calls."""
        with self._lock:
            rows = sorted(self._counts.items())
        return [
            {
                "service": service,
                "action": action,
                "principal": principal,
                "tool": tool,
                "status": status,
                "calls": number,
            }
            for (service, action, principal, tool, status), number in rows
        ]
