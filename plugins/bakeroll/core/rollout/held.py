"""Instances that a rollout terminated and nobody drains yet: their lifecycle actions are kept alive.

Between a termination and its drain lie the other terminations of the wave, in a run that took a dead one over
a whole soak, and in a rollback all that brings capacity back. A hook that nobody beats meanwhile times out,
and the instance goes with its log lines.
"""

from __future__ import annotations

from collections.abc import Callable

from bakeroll.core.aws import Clients
from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Ledger
from bakeroll.core.steps import Act, Decision, Done, Wait

BEATS_IN_TIMEOUT = 3
"""How often a hook is told within its timeout: one beat may come late, and one be lost."""


class Held:
    """What one step of a fleet has seen held by the termination hook.

    :param ledger: the journal: nobody beats who has lost it.
    """

    def __init__(self, clients: Clients, ledger: Ledger) -> None:
        self._clients = clients
        self._ledger = ledger
        self._ids: list[str] = []
        self._place: FleetRecord | None = None
        self._pause: float | None = None
        self._next = 0.0

    def see(self, fleet: Fleet, record: FleetRecord) -> None:
        """Note who waits at the hook and was terminated by this rollout."""
        self._place = record
        self._ids = [
            one.instance_id
            for one in fleet.instances
            if one.lifecycle_state == lifecycle_actions.HELD and one.instance_id in record.retired
        ]

    def kept_through(self, decision: Decision) -> Decision:
        """Return a decision that keeps them alive while it is waited, or before it is carried out."""
        if not self._ids or isinstance(decision, Done):
            return decision
        if isinstance(decision, Act):
            return Act(decision.what, self._with_beat(decision.perform))
        return Wait(decision.why, self._with_beat(decision.keep_alive))

    def _with_beat(self, then: Callable[[], object] | None) -> Callable[[], None]:
        def both() -> None:
            self.beat()
            if then:
                then()

        return both

    def beat(self) -> None:
        """Restart the hook's timeout where it is time; harmless however often it is done."""
        now = self._ledger.now()
        if self._place is None or now < self._next:
            return
        self._ledger.read()
        if self._pause is None:
            timeout = lifecycle_actions.heartbeat_timeout(self._clients, self._place)
            if timeout is None:
                return  # without a hook AWS holds nobody any more: the next picture shows it
            self._pause = timeout / BEATS_IN_TIMEOUT
        for instance_id in self._ids:
            lifecycle_actions.heartbeat(self._clients, self._place, instance_id)
        self._next = now + self._pause
