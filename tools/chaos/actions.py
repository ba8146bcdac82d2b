"""Watches the lifecycle actions of instances that a run terminated: none may be left to its timeout.

A timeout is nobody's fault where nobody could send a sign of life. So one counts only if the very run that
terminated the instance was at work, and nothing held it up, all through the hook's last period.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.model.autoscaling.lifecycle import Lifecycle
from sandbox.model.autoscaling.state import LifecycleAction, Member
from tools.chaos.truth import Truth, ViolationError

CALLS_A_PERIOD = 150
"""So many calls of the slowest kind have to fit into a hook's period for anybody to keep up with it."""
STARVED_SECONDS = 90.0
"""A run that is at work calls more often than that, if it gets its turn: calls of processes that would be
made beside each other go one after the other here, and those of drains outside may take minutes."""


class Actions:
    """Knows who is at work since when, and sees each action that ends without being ended.

    :param truths: the environment's fleets by name.
    :param hook: name of the hook that is ours.
    :param latency: how many seconds a call may take at the most.
    :param violated: told of a violation; it is found while time passes, so nobody could catch it.
    """

    def __init__(
        self,
        truths: Mapping[str, Truth],
        hook: str,
        latency: float,
        say: Callable[[str], object],
        violated: Callable[[ViolationError], object],
    ) -> None:
        self.timeouts = 0
        """How many actions of instances that a run terminated ran into their timeout, whoever was at work."""
        self._truths = truths
        self._hook = hook
        self._latency = latency
        self._say = say
        self._violated = violated
        first = next(iter(truths.values()))
        self._clock = first.aws.clock
        self._lifecycle: Lifecycle = first.aws.account.groups.lifecycle
        self._complete = self._lifecycle.complete
        self._at_work: dict[str, float] = {}
        self._called: dict[str, float] = {}
        self._held_up_until = self._clock.now()
        self._lifecycle.complete = self._ends  # type: ignore[method-assign]

    def begins(self, owner: str) -> None:
        """Note that a run holds the journal and is at work from now on."""
        self._at_work[owner] = self._clock.now()

    def ends(self, owner: str) -> None:
        """Note that a run is over, or that nobody is left who works at it."""
        self._at_work.pop(owner, None)

    def held_up(self, seconds: float = 0.0) -> None:
        """Note that something holds runs up: a fault of a call, a process that dies or stands still.

        :param seconds: for how long.
        """
        self._held_up_until = max(self._held_up_until, self._clock.now() + seconds)

    def called(self, owner: str) -> None:
        """Note that somebody calls; who could not for long was held up."""
        if self._starved(owner):
            self.held_up()
        self._called[owner] = self._clock.now()

    def _starved(self, owner: str) -> bool:
        now = self._clock.now()
        return owner in self._at_work and now - self._called.get(owner, now) > STARVED_SECONDS

    def _ends(self, member: Member, action: LifecycleAction, result: str) -> None:
        # A timer that runs is no longer pending: so it is the timeout and no call.
        timed_out = action.timer is not None and not action.timer.pending
        if timed_out and action.hook.name == self._hook:
            self._times_out(member, action.hook.heartbeat_timeout_seconds)
        self._complete(member, action, result)

    def _times_out(self, member: Member, period: float) -> None:
        truth = self._truths[member.group.name]
        owner = truth.terminated.get(member.instance_id)
        if owner is None:
            return  # a policy, a person or a failed health check began its termination
        self.timeouts += 1
        self._say(f"{self._hook} of {member.instance_id}, which {owner} terminated, times out")
        since = max(self._at_work.get(owner, self._clock.now()), self._held_up_until)
        if self._starved(owner):
            return
        if period >= CALLS_A_PERIOD * self._latency and since <= self._clock.now() - period:
            text = f"{self._hook} of {member.instance_id} timed out after {period:.0f} s"
            self._violated(ViolationError(3, f"{text}, and {owner} was at work all the time"))
