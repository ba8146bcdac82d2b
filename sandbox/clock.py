"""Time: a real clock for the server, a virtual one that tests advance.

A clock owns the account's lock and holds it while an action runs, so that the model sees one thing
happen at a time whatever calls it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

Action = Callable[[], object]
EPOCH_2026 = 1767225600.0
"""1 January 2026, where virtual time begins."""

_log = logging.getLogger(__name__)


class Handle:
    """One action that waits for its time."""

    __slots__ = ("_action", "when")

    def __init__(self, when: float, action: Action) -> None:
        self.when = when
        self._action: Action | None = action

    def cancel(self) -> None:
        """Make sure that the action will not run; harmless if it already did."""
        self._action = None

    @property
    def pending(self) -> bool:
        """Tell whether the action is still to come."""
        return self._action is not None

    def run(self) -> None:
        """Run the action, once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Clock(Protocol):
    """What the model asks of time."""

    lock: threading.RLock
    """Held by whoever reads or changes the account."""

    def now(self) -> float:
        """Return seconds since the epoch."""

    def call_at(self, when: float, action: Action) -> Handle:
        """Run an action at a time, or soon if that has passed."""

    def call_later(self, seconds: float, action: Action) -> Handle:
        """Run an action after some seconds."""


class _Agenda:
    """Handles in order of time; equal times run in the order they were asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()

    def add(self, when: float, action: Action) -> Handle:
        handle = Handle(when, action)
        heapq.heappush(self._heap, (when, next(self._order), handle))
        return handle

    def next_time(self) -> float | None:
        while self._heap and not self._heap[0][2].pending:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Handle:
        return heapq.heappop(self._heap)[2]


class VirtualClock:
    """Time that stands still until it is advanced.

    :param start: seconds since the epoch.
    """

    def __init__(self, start: float = EPOCH_2026) -> None:
        self.lock = threading.RLock()
        self._now = start
        self._agenda = _Agenda()

    def now(self) -> float:
        """Return virtual seconds since the epoch."""
        return self._now

    def call_at(self, when: float, action: Action) -> Handle:
        """Run an action when time is advanced to or past ``when``."""
        return self._agenda.add(max(when, self._now), action)

    def call_later(self, seconds: float, action: Action) -> Handle:
        """Run an action when time has been advanced by some seconds."""
        return self.call_at(self._now + seconds, action)

    def advance(self, seconds: float) -> None:
        """Let some seconds pass, running what falls due in order of time."""
        self.advance_to(self._now + seconds)

    def advance_to(self, when: float) -> None:
        """Let time pass until ``when``; what the actions themselves ask for runs too."""
        with self.lock:
            while (due := self._agenda.next_time()) is not None and due <= when:
                self._now = max(self._now, due)
                self._agenda.pop().run()
            self._now = max(self._now, when)

    def next_time(self) -> float | None:
        """Return when something will happen next, None if nothing is waiting."""
        return self._agenda.next_time()


class RealClock:
    """The machine's time; one daemon thread runs what falls due."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._agenda = _Agenda()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def call_at(self, when: float, action: Action) -> Handle:
        """Run an action at a time, from the clock's thread."""
        with self._changed:
            handle = self._agenda.add(when, action)
            self._changed.notify()
            return handle

    def call_later(self, seconds: float, action: Action) -> Handle:
        """Run an action after some seconds, from the clock's thread."""
        return self.call_at(self.now() + seconds, action)

    def start(self) -> None:
        """Begin to run actions."""
        self._thread = threading.Thread(target=self._work, name="sandbox-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what still waits will not run."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        with self._changed:
            while not self._stopping:
                due = self._agenda.next_time()
                if due is None or due > self.now():
                    self._changed.wait(None if due is None else max(0.0, due - self.now()))
                    continue
                self._run(self._agenda.pop())
                self._let_others_in()

    def _run(self, handle: Handle) -> None:
        try:
            handle.run()
        except Exception:  # noqa: BLE001 - one action's mistake must not stop the account's time
            _log.exception("a timed action of the sandbox failed")

    def _let_others_in(self) -> None:
        # Waiting on the condition gives the lock away, so a long agenda does not starve API calls.
        self._changed.wait(0)
