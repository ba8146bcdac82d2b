"""Bring one fleet back: its group's target, its capacity, and out with what is not wanted."""

from __future__ import annotations

from datetime import timedelta

from bakeroll.core.errors import RollbackError
from bakeroll.core.rollout.capacity import (
    carried_out,
    live_target,
    lowered,
    may_go,
    surge_left,
    without_raise,
)
from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.journal import FleetRecord, Surge
from bakeroll.core.rollout.rollback.step import BackStep, PointedElsewhereError
from bakeroll.core.rollout.rollback.target import Target, image_of, point, target_of
from bakeroll.core.rollout.rollback.withdraw import Withdraw
from bakeroll.core.rollout.waves import (
    DRAIN_CHUNK,
    RETIRE_BATCH,
    AwaitCapacity,
    FleetStep,
    RaisingStep,
    Retire,
    ScaleOut,
    Settle,
)
from bakeroll.core.steps import Act, Decision, Done, Wait


class Restore(BackStep, RaisingStep):
    """Restore one fleet.

    It goes through all that a rollout's wave goes through, from the start at each look: so whatever happens
    meanwhile, a launch of the bad version that was on its way for example, is seen and mended.
    """

    def _look(self) -> Decision:
        """Decide what is first; the result is what went, in chunks; None: there is nothing to go back to."""
        try:
            return self._restore()
        except PointedElsewhereError as found:
            return self._point(found)

    def _restore(self) -> Decision:
        fleet, record = self._picture()
        if target_of(record) is None:
            return Done(
                f"fleet {fleet.name} was made by this deployment, so there is nothing to go back to: its "
                f"{len(fleet.counted)} instances stay, {fleet.ready_count} serve; deploy a mended version"
            )
        if (
            record.surge
            and not record.surge.applied
            and (act := self._unapplied(fleet, record, record.surge))
        ):
            return act
        for kind in (Withdraw, _RestoreCapacity, _AwaitRestored):
            decision = self._as(kind).look()
            if not isinstance(decision, Done):
                return decision
        return self._as(_Remove).look()

    def _as(self, kind: type[FleetStep]) -> FleetStep:
        timeout = timedelta(seconds=self._timeout)
        return kind(
            self._clients, self._ledger, self._name, wave=self._wave, timeout=timeout, held=self._held
        )

    def _point(self, found: PointedElsewhereError) -> Act:
        if image_of(self._clients, found.target) is None:
            raise RollbackError(
                f"fleet {self._name}: {found.target}, which ran before, has been deleted: there is nothing "
                "to go back to"
            )
        return Act(
            f"point {found.group} back at {found.target}: {found}",
            lambda: self._point_at(found.group, found.target),
        )

    def _point_at(self, group: str, target: Target) -> None:
        self._ledger.read()
        point(self._clients, self._name, group, target)

    def _unapplied(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Take a raise for done that was cut off while AWS did it; drop one for the new version.

        A minimum above the one noted, which a person has set, has taken its place, be it done or not.
        """
        if taken := self._take_theirs(fleet, record, surge):
            return taken
        if carried_out(fleet, surge):
            applied = surge.model_copy(update={"applied": True})
            return Act("note that capacity was raised", lambda: self._change(surge, {"surge": applied}))
        if fleet.old and (surge.amount == len(fleet.old) or self._ours(surge)):
            return None  # it is what this rollback needs
        kept = without_raise(fleet, surge)
        return self._unsettled(surge) or Act(
            "drop the intent to raise capacity: it did not come to that",
            lambda: self._change(surge, {"surge": kept}),
        )

    def _ours(self, surge: Surge) -> bool:
        """Tell whether an intent was noted since the rollback began, and not by what it undoes."""
        rollback = self._ledger.read().rollback
        return rollback is not None and surge.at >= rollback.began_at


class _RestoreCapacity(BackStep, ScaleOut):
    """Raise capacity by what is missing of the version that ran before."""


class _AwaitRestored(BackStep, AwaitCapacity):
    """Wait until the version that ran before serves at full capacity."""

    what_serves = "instances of the version before"
    next_step = "That is the version that ran before"


class _Remove(BackStep, Retire):
    """Remove what is not current; then instances of the version before that are more than needed."""

    def _done(self, fleet: Fleet, record: FleetRecord) -> Act | Wait | Done:
        surge = record.surge
        if surge and (decision := self._surplus(fleet, record, surge)):
            return decision
        standing = {instance.instance_id for instance in fleet.counted}
        ids = [one for one in record.went if one not in standing]
        forward = record.retired[: self._retired_forward()]
        chunks = [
            some[start : start + DRAIN_CHUNK]
            for some in ([one for one in ids if one in forward], [one for one in ids if one not in forward])
            for start in range(0, len(some), DRAIN_CHUNK)
        ]
        return Done(
            f"all {len(fleet.counted)} instances of {fleet.group} are of the version before; "
            f"{len(ids)} were retired by this deployment",
            chunks,
        )

    def _retired_forward(self) -> int:
        rollback = self._ledger.read().rollback
        return rollback.retired.get(self._name, 0) if rollback else 0

    def _surplus(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Act | Wait | None:
        """Let go of instances that were launched in place of new ones, since the group was pointed back."""
        live = live_target(fleet, record)
        meant = [one for one in fleet.current if one.instance_id in surge.surplus]
        victim = next((one for one in meant if may_go(fleet, surge, one, live)), None)
        if victim:
            return self._room_to_go(fleet, record, surge, len(meant)) or self._let_go(
                fleet, record, surge, victim
            )
        most = min(surge_left(fleet, record) - len(meant), RETIRE_BATCH)
        # First what does not serve, then what the rollout launched: that is protected from scale-in.
        order = sorted(fleet.current, key=lambda one: (fleet.ready(one), not one.protected))
        more = [one for one in order if one not in meant and may_go(fleet, surge, one, live)]
        names = [one.instance_id for one in more[: max(0, most)]]
        if names:
            return Act(
                f"note the intent: retire {', '.join(names)}, which are surplus",
                lambda: self._intend_surplus(record, surge, names),
            )
        return self._wait_to_let_go(fleet, live) if surge_left(fleet, record) > 0 else None

    def _wait_to_let_go(self, fleet: Fleet, live: int) -> Wait | None:
        """Wait until surplus may go; None if that takes too long: it may stay, so nothing fails of it."""
        deadline = self._deadline("retire")
        if self._ledger.now() >= deadline:
            return None
        return Wait(
            f"surplus instances wait to go: {fleet.ready_count} healthy, floor {live}, "
            f"{self._passed(deadline)}"
        )

    def _let_go(self, fleet: Fleet, record: FleetRecord, surge: Surge, victim: Instance) -> Act:
        decrement = self._decrements(fleet, record)
        if decrement or len(fleet.counted) > fleet.desired:
            return Act(
                f"terminate {victim.instance_id}, which is surplus",
                lambda: self._terminate(victim, decrement=decrement),
            )
        kept = surge.model_copy(
            update={
                "amount": surge.amount - 1,
                "retiring": tuple(one for one in surge.retiring if one != victim.instance_id),
                "surplus": tuple(one for one in surge.surplus if one != victim.instance_id),
            }
        )
        return Act(
            f"keep {victim.instance_id}: desired capacity is the group's own minimum by now",
            lambda: self._change(surge, {"surge": kept}),
        )

    def _intend_surplus(self, record: FleetRecord, surge: Surge, names: list[str]) -> None:
        changed = surge.model_copy(
            update={
                "retiring": (*surge.retiring, *names),
                "surplus": (*surge.surplus, *names),
                **lowered(surge, len(names)),
            }
        )
        retired = (*record.retired, *names)
        self._change(surge, {"surge": changed, "retired": retired}, renews="retire")


class SettleBack(BackStep, Settle):
    """Give back minimum, maximum, protection and processes, and see the whole fleet at the version before."""

    def _look(self) -> Decision:
        """Decide what is still to be given back; a group that was moved forward again is told."""
        try:
            return super()._look()
        except PointedElsewhereError as found:
            return self._elsewhere(found)

    def _elsewhere(self, found: PointedElsewhereError) -> Wait:
        deadline = self._deadline("verify")
        if self._ledger.now() >= deadline:
            raise RollbackError(
                f"fleet {self._name}: {found}: somebody moved it forward; clear the fleet's restore"
            )
        return Wait(f"{found}, {self._passed(deadline)}")
