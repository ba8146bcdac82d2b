"""The faults of one account: set, listed and cleared while it runs, and asked about at every call.

::

    faults.set({"fault": "throttle", "action": "autoscaling:*", "rate": 0.2})
    faults.set(fault="lost", action="autoscaling:UpdateAutoScalingGroup", count=1)
    faults.clear()

Whoever answers calls passes each through :meth:`Faults.around`: the HTTP server and clients in the process
alike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from sandbox.faults.calls import CALLS, CallRule, Fault, read_call_rule
from sandbox.faults.errors import FaultSettingError, NoAnswerError
from sandbox.faults.past import Past

Result = TypeVar("Result")


class Faults:
    """The fault settings of one account; safe to use from several threads.

    :param random: draws what is hit; seeded, a run can be repeated.
    :param now: seconds since the epoch.
    :param pass_time: lets some seconds go by: sleeps, or advances a virtual clock.
    """

    def __init__(
        self, *, random: Random, now: Callable[[], float], pass_time: Callable[[float], object]
    ) -> None:
        self._lock = threading.Lock()
        self._random = random
        self.pass_time = pass_time
        self._past = Past(now)
        self._calls: dict[int, CallRule] = {}
        self._last_id = 0

    def set(self, setting: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Add a fault.

        :return: its id.
        :raises FaultSettingError: in one line, if the setting makes no sense; then nothing is set.
        """
        given = {**(setting or {}), **values}
        kind = given.get("fault")
        if kind not in CALLS:
            message = f"fault is {kind!r}, expected one of {', '.join(sorted(CALLS))}"
            raise FaultSettingError(message)
        rule = read_call_rule(str(kind), given)
        with self._lock:
            self._last_id += 1
            self._calls[self._last_id] = rule
            return self._last_id

    def list(self) -> list[dict[str, Any]]:
        """Return what is set, with how many calls each hit so far."""
        with self._lock:
            return [{"id": number, **rule.shape()} for number, rule in self._calls.items()]

    def clear(self, number: int | None = None) -> None:
        """Remove one fault, or all.

        :raises FaultSettingError: if there is none with this id.
        """
        with self._lock:
            if number is None:
                self._calls.clear()
                self._past.clear()
            elif self._calls.pop(number, None) is None:
                message = (
                    f"there is no fault {number}; those set are {', '.join(map(str, self._calls)) or 'none'}"
                )
                raise FaultSettingError(message)

    def decide(self, service: str, operation: str, principal: str, *, key: Hashable = ()) -> Fault | None:
        """Decide what happens to one call; of several faults the one set first that hits it.

        :param service: botocore's name of it.
        :param operation: botocore's name of the action.
        :param principal: the access key id.
        :param key: its parameters, by which an earlier answer to the same call is found.
        """
        with self._lock:
            for number, rule in self._calls.items():
                if not rule.matches(service, operation, principal):
                    continue
                earlier = None
                if rule.fault == "stale":
                    earlier = self._past.oldest((service, operation, key), rule.seconds)
                    if earlier is None:
                        continue  # never asked before: nobody would know it from a fresh answer
                if rule.strikes(self._random):
                    if rule.spent:
                        del self._calls[number]
                    return replace(rule.fault_for(service), earlier=earlier)
            return None

    def around(
        self,
        service: str,
        operation: str,
        principal: str,
        perform: Callable[[], Result],
        *,
        key: Hashable = (),
        good: Callable[[Result], bool] = lambda _: True,
    ) -> Result:
        """Perform one call as the faults will have it.

        :param perform: does it and returns its answer; holds the account's lock only inside.
        :param key: its parameters, so that an answer from the past is one to the same question.
        :param good: tells whether an answer is no refusal, where ``perform`` does not raise those.
        :raises ServiceError: where the call is refused.
        :raises NoAnswerError: where its answer is lost.
        """
        if not self._calls:
            return perform()
        memory = self._memory(service, operation, principal)
        fault = self.decide(service, operation, principal, key=key)
        if fault is not None and fault.error is not None:
            raise fault.error
        if fault is not None and fault.kind == "dropped":
            self.pass_time(fault.seconds)
            raise NoAnswerError(fault.seconds, done=False)
        if fault is not None and fault.earlier is not None:
            earlier: Result = fault.earlier[0]
            return earlier
        answer = perform()
        if memory is not None and good(answer):
            with self._lock:
                self._past.remember((service, operation, key), answer, memory)
        if fault is not None:
            self.pass_time(fault.seconds)
            if fault.kind == "lost":
                raise NoAnswerError(fault.seconds, done=True)
        return answer

    def _memory(self, service: str, operation: str, principal: str) -> float | None:
        """Tell for how long answers to a call are to be kept, None if they are not."""
        with self._lock:
            wanted = [
                rule.seconds
                for rule in self._calls.values()
                if rule.fault == "stale" and rule.matches(service, operation, principal)
            ]
        return max(wanted, default=None)
