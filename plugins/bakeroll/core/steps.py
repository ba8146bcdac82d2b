"""Describe, decide, act once: the loop that every step of a rollout runs in.

A step looks at AWS and says one of three things: there is one thing to do (:class:`Act`), there is
nothing to do but wait (:class:`Wait`), or it is done (:class:`Done`). Operators run the loop until
it waits or is done; triggers only look. So a step can be cut off anywhere and begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Act:
    """One thing to do now.

    :ivar what: the thing, for the log.
    :ivar perform: does it; safe to do again.
    """

    what: str
    perform: Callable[[], object]


@dataclass(frozen=True)
class Wait:
    """Nothing to do but wait.

    :ivar why: progress for the log, such as ``3 of 8 in service, 5 booting``.
    :ivar keep_alive: what may be done while waiting, harmless if done twice at once (heartbeats).
    """

    why: str
    keep_alive: Callable[[], object] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Done:
    """The step reached its end.

    :ivar what: the end in a sentence, for the log.
    :ivar result: a small value for the next task, that JSON can hold.
    """

    what: str
    result: Any = None


Decision = Act | Wait | Done


class Step(Protocol):
    """Something that is reached by looking and acting in turns."""

    def look(self) -> Decision:
        """Take a fresh picture and decide.

        :raises BakerollError: if the end cannot be reached.
        """


def advance(step: Step, log: Callable[[str], object]) -> Wait | Done:
    """Look and act in turns until there is nothing to do but wait, or the end is reached.

    :param log: gets a line for each act and for the end.
    """
    while True:
        match step.look():
            case Act(what, perform):
                log(what)
                perform()
            case Wait() as wait:
                return wait
            case Done() as done:
                log(done.what)
                return done
