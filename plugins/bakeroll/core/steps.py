"""Describe, decide, act once: the loop that every step of a rollout runs in.

A step looks at AWS and says one of three things: there is one thing to do (:class:`Act`), there is
nothing to do but wait (:class:`Wait`), or it is done (:class:`Done`). Operators run the loop until
it waits or is done; triggers only look. So a step can be cut off anywhere and begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.errors import BakerollError

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 15.0
FAILED_LOOKS = 20
"""How often in a row a look may fail because of AWS while somebody only waits: some five minutes."""


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


class Observer:
    """Looks at a step for as long as there is nothing to do but wait.

    :param step: the step.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._failed = 0

    def look(self) -> Decision | None:
        """Look once, and do what keeps a wait alive; None if whoever acts had better look himself.

        He looks at the same thing then, and fails with the reason in his own log. Where AWS does not answer,
        it is asked again for some minutes: a wait of hours has more than one outage, and each would cost
        the task one of its few tries.
        """
        try:
            decision = self._step.look()
            if isinstance(decision, Wait) and decision.keep_alive:
                decision.keep_alive()
        except BakerollError:
            return None
        except (ClientError, BotoCoreError) as error:
            self._failed += 1
            return Wait(f"AWS does not answer: {error}") if self._failed <= FAILED_LOOKS else None
        self._failed = 0
        return decision


def pauses() -> Iterator[float]:
    """Yield how many seconds to wait before each look: short waits end soon, long ones cost few API calls.

    First a pause: AWS may show what has just been done a little later.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause
        pause = min(LONGEST_PAUSE_SECONDS, pause * 1.2)
