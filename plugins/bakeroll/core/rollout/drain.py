"""Empty the log buffers of the instances that a rollout retired, and see them gone.

Nothing is remembered but a loss: what was sent and what came of it, SSM tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout.commands import Invocation
from bakeroll.core.rollout.emptying import HELD, RETAINED, Emptying, Picture, Place
from bakeroll.core.rollout.journal import FleetRecord, Ledger, deadline_name
from bakeroll.core.rollout.receipts import Receipt
from bakeroll.core.steps import Decision, Done, Wait

LONGEST_DEREGISTRATION = timedelta(hours=1)
"""A target group's deregistration delay is at most 3600 s
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html)."""


class Drain(Emptying):
    """Drain up to 50 instances that were retired.

    :param ledger: the journal, which says what the fleet is and that this run may act.
    :param wave: the wave, counted from 1.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: Ledger,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        wave: int,
        timeout: timedelta,
        stop_units: Sequence[str],
        earlier: Collection[str] = (),
    ) -> None:
        super().__init__(
            clients, fleet, instance_ids, timeout=timeout, stop_units=stop_units, earlier=earlier
        )
        self._ledger = ledger
        self._wave = wave

    def now(self) -> float:
        """Return the journal's time."""
        return self._ledger.now()

    def _may_act(self) -> None:
        self._ledger.read()

    def _emptied(self, place: Place, invocation: Invocation, receipt: Receipt) -> None:
        """Note nothing: the task's result has the receipts, and the release."""

    def look(self) -> Decision:
        """Decide what is to be done for the instances that are not gone yet."""
        journal = self._ledger.read()
        record = journal.fleets[self._name]
        ids = [instance_id for instance_id in self._ids if instance_id not in record.lost]
        picture = self._picture(record, ids, journal.opened_at)
        act = self._complete(record, picture) or self._send(record, picture)
        if act:
            return act
        self._refuse_rests(picture)
        self._refuse_failures(picture)
        self._refuse_retained(picture)
        left = {one: state for one, state in picture.states.items() if state != "Terminated"}
        if left:
            return self._wait(record, picture, left)
        return self._finish(record, picture, ids)

    def earlier_commands(self) -> list[str]:
        """Return the ids of all commands that there are for these instances, whatever came of them."""
        journal = self._ledger.read()
        picture = self._picture(journal.fleets[self._name], self._ids, journal.opened_at)
        known = {one.command_id for each in self._ids for one in picture.invocations.get(each, [])}
        return sorted(known)

    def _refuse_rests(self, picture: Picture) -> None:
        """Refuse a success of this attempt whose receipt cannot be read or shows a rest."""
        for instance_id in picture.held():
            newest = picture.newest(instance_id)
            if newest is None or newest.state != "success" or newest.command_id in self._earlier:
                continue
            if instance_id in self._completed:
                continue
            receipt = self._receipt(newest)
            if not receipt.empty:
                raise DrainError(
                    f"{instance_id}: the drain script says success but {receipt.rest()}; "
                    "look at Fluentd's output on the instance, then clear this task"
                )

    def _refuse_failures(self, picture: Picture) -> None:
        failed = [
            invocation
            for instance_id in picture.held()
            if instance_id not in self._completed
            and (invocation := picture.newest(instance_id))
            and invocation.state == "failed"
            and invocation.command_id not in self._earlier
        ]
        if failed:
            raise DrainError(
                f"fleet {self._name}: draining failed on {', '.join(one.instance_id for one in failed)}: "
                f"{failed[0].status}, it says: {self._said(failed[0])}. The instances are held until their "
                "lifecycle hook times out, then retained or terminated as its default result says; mend the "
                "cause and clear this task, which asks them again"
            )

    def _refuse_retained(self, picture: Picture) -> None:
        retained = [instance_id for instance_id, state in picture.states.items() if state == RETAINED]
        if retained:
            self._note_loss(retained)
            raise DrainError(
                f"fleet {self._name}: {', '.join(retained)} was not drained before its lifecycle hook timed "
                "out and is retained, its log buffers still on its disk: save them, then terminate it by "
                "name. This is noted in the journal; clear this task or start a new run to go on"
            )

    def _wait(self, record: FleetRecord, picture: Picture, left: dict[str, str]) -> Wait:
        seconds = (self._timeout + LONGEST_DEREGISTRATION).total_seconds()
        deadline = self._ledger.deadline(self._name, deadline_name(self._wave, "drain"), seconds)
        stages = ", ".join(f"{one} {self._stage(one, state, picture)}" for one, state in sorted(left.items()))
        if self._ledger.now() >= deadline:
            raise DrainError(
                f"fleet {self._name}: after {seconds:.0f} s still not drained: {stages}; look at the SSM "
                "agents and scaling activities, then clear this task"
            )
        counted = Counter(self._stage(one, state, picture) for one, state in left.items())
        words = "".join(f", {count} {stage}" for stage, count in sorted(counted.items()))
        passed = max(0, round(seconds - (deadline - self._ledger.now())))
        return Wait(
            f"{len(self._ids) - len(left)} of {len(self._ids)} drained and gone{words}, "
            f"{passed} s of {seconds:.0f} s",
            lambda: self._keep_alive(record, picture.held()),
        )

    def _stage(self, instance_id: str, state: str, picture: Picture) -> str:
        if state != HELD:
            return state
        invocation = picture.newest(instance_id)
        if self._to_be_asked(instance_id, picture) and instance_id not in self._asked:
            return "waits for its SSM agent"
        return f"drains ({invocation.status})" if invocation else HELD

    def _finish(self, record: FleetRecord, picture: Picture, ids: list[str]) -> Decision:
        drained: list[dict[str, Any]] = []
        lost: list[str] = []
        for instance_id in ids:
            found = self._good_receipt(instance_id, picture)
            if found is None:
                lost.append(instance_id)
            else:
                drained.append({"instance_id": instance_id, **found[1].model_dump()})
        if lost:
            self._note_loss(lost)
            raise DrainError(
                f"fleet {self._name}: {', '.join(lost)} went without a receipt that says it is empty "
                f"(terminated directly, or lifecycle hook {record.termination_hook} timed out): log "
                "lines still buffered there may be lost. This is noted in the journal; clear "
                "this task or start a new run to go on"
            )
        noted = [{"instance_id": one, "lost": True} for one in self._ids if one in record.lost]
        return Done(f"{len(drained)} instances drained and gone", drained + noted)

    def _note_loss(self, lost: Sequence[str]) -> None:
        self._ledger.update_fleet(
            self._name,
            lambda record: record.model_copy(update={"lost": tuple(dict.fromkeys((*record.lost, *lost)))}),
        )
