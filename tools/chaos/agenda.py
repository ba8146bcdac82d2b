"""Runs many processes of a rollout beside each other in virtual time, one turn at a time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from sandbox.clock import VirtualClock
from tools.chaos.invariants import Actor
from tools.chaos.world import KilledError

Turns = Generator[float, None, Any]
"""Yields how many seconds it sleeps until its next turn."""


@dataclass(eq=False)
class Process:
    """Something that takes turns."""

    actor: Actor
    turns: Turns
    result: Any = None
    error: BaseException | None = None
    over: bool = False
    killed: bool = field(default=False)
    stands_still: float = 0.0
    """Seconds that its machine does nothing before its next turn."""

    def outcome(self) -> Any:
        """Return its result.

        :raises BaseException: what it ended with.
        """
        if self.error is not None:
            raise self.error
        return self.result


class Agenda:
    """Gives each process its turn.

    :param become: told whose turn it is.
    """

    def __init__(self, clock: VirtualClock, chance: Random, become: Callable[[Actor], object]) -> None:
        self._clock = clock
        self._chance = chance
        self._become = become
        self._waiting: list[tuple[float, float, int, Process]] = []
        self._order = itertools.count()

    def start(self, actor: Actor, turns: Turns) -> Process:
        """Add a process."""
        process = Process(actor, turns)
        self._put(process, 0.0)
        return process

    def kill(self, process: Process) -> None:
        """Let a process die at its next turn."""
        process.killed = True

    def run(self, until: Callable[[], bool], longest: float) -> None:
        """Let all take turns until something is so.

        :param longest: seconds of virtual time.
        :raises TimeoutError: if it is not so by then.
        """
        end = self._clock.now() + longest
        while not until():
            if not self._waiting:
                raise TimeoutError("nothing is left that could take a turn")
            when, _, _, process = heapq.heappop(self._waiting)
            if when > end:
                raise TimeoutError(f"not over after {longest:.0f} s")
            if when > self._clock.now():
                self._clock.advance_to(when)
            if process.stands_still:
                pause, process.stands_still = process.stands_still, 0.0
                self._put(process, pause)
            else:
                self._turn(process)

    def _turn(self, process: Process) -> None:
        self._become(process.actor)
        try:
            pause = process.turns.throw(KilledError()) if process.killed else next(process.turns)
        except StopIteration as end:
            process.over, process.result = True, end.value
        except (Exception, KilledError) as error:  # noqa: BLE001  # whoever waits for it is told
            process.over, process.error = True, error
        else:
            self._put(process, pause)

    def _put(self, process: Process, pause: float) -> None:
        when = self._clock.now() + pause
        heapq.heappush(self._waiting, (when, self._chance.random(), next(self._order), process))
