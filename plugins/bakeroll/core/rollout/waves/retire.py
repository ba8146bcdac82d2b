"""Terminate old instances by name, as many as the floor allows."""

from __future__ import annotations

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code, error_text
from bakeroll.core.errors import CapacityError, FleetError
from bakeroll.core.rollout.capacity import (
    astray,
    came_back,
    gone,
    live_target,
    lowered,
    may_go,
    next_to_retire,
    nothing_raised,
    overhang,
    share_of,
    surge_left,
)
from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.journal import Exposure, FleetRecord, Surge
from bakeroll.core.rollout.waves.raising import RaisingStep
from bakeroll.core.steps import Act, Decision, Done, Wait

RETIRE_BATCH = 20
"""How many instances the minimum makes room for at once; small, so that a policy finds little room."""

DRAIN_CHUNK = 50
"""SendCommand takes at most 50 instance ids (API reference, InstanceIds)."""


class Retire(RaisingStep):
    """Terminate this wave's old instances by name, as many as the floor allows, one after the other."""

    def _look(self) -> Decision:
        """Decide which instance may go next; the result is the ids that went, in chunks for draining."""
        fleet, record = self._picture()
        surge = record.surge
        if surge is None:
            return self._without_surge(fleet, record)
        if strays := astray(fleet, surge):
            return self._unsettled(surge) or Act(
                f"keep {', '.join(strays)}: the target went back to what they run",
                lambda: self._keep(fleet, surge, strays),
            )
        if taken := self._take_theirs(fleet, record, surge):
            return taken
        if surge.applied and fleet.minimum == surge.previous < surge.minimum:
            return Act(
                f"raise MinSize {fleet.minimum} -> {surge.minimum} again: so much is still needed",
                lambda: self._raise(fleet, surge),
            )
        if surge.applied and fleet.minimum == surge.previous > surge.minimum:
            return Act(
                f"set MinSize {fleet.minimum} -> {surge.minimum} for the instances that go",
                lambda: self._set_minimum(fleet, surge.minimum),
            )
        return self._go_on(fleet, record, surge)

    def _go_on(self, fleet: Fleet, record: FleetRecord, surge: Surge) -> Decision:
        """Decide who goes, the minimum being as noted."""
        victims = [one for one in fleet.old if one.instance_id in surge.retiring]
        live = live_target(fleet, record)
        if (victims or self._excess(fleet, record) > 0) and not surge.applied:
            act = self._carry_out(fleet, record, surge)
            if act:
                return act
        victim = next((one for one in victims if may_go(fleet, surge, one, live)), None)
        if victim:
            return self._room_to_go(fleet, record, surge, len(victims)) or Act(
                f"terminate {victim.instance_id}",
                lambda: self._terminate(victim, decrement=self._decrements(fleet, record)),
            )
        if victims:
            return self._wait(fleet, live, len(victims))
        return self._next(fleet, record, surge, live)

    def _room_to_go(self, fleet: Fleet, record: FleetRecord, surge: Surge, victims: int) -> Act | Wait | None:
        """Make room below desired capacity where a policy has taken what the minimum was lowered for.

        A picture that shows no room may be from before the raise. None if there is room, or none is needed:
        below what the group's own minimum is nobody goes without a replacement, and where the group stands
        above desired capacity, as its instances are protected, AWS replaces nobody.
        """
        if fleet.desired > fleet.minimum:
            return None
        if wait := self._unsettled(surge):
            return wait
        if len(fleet.counted) > fleet.desired and surge_left(fleet, record) == 0:
            return None
        floor = record.before.minimum if record.before else fleet.minimum
        minimum = max(floor, fleet.desired - victims)
        if fleet.minimum != surge.minimum or minimum >= fleet.minimum:
            return None
        room = surge.model_copy(update={"minimum": minimum, "previous": fleet.minimum})
        return Act(
            f"note the intent: MinSize {minimum}, as somebody lowered desired capacity to {fleet.desired}",
            lambda: self._change(surge, {"surge": room}),
        )

    @staticmethod
    def _decrements(fleet: Fleet, record: FleetRecord) -> bool:
        """Tell whether desired capacity goes down with the next one: not where it was never counted in it."""
        overhangs = surge_left(fleet, record) == 0 and overhang(fleet) > 0
        return fleet.desired > fleet.minimum and not overhangs

    def _excess(self, fleet: Fleet, record: FleetRecord) -> int:
        """Return how many old instances are more than this wave leaves standing."""
        live = live_target(fleet, record)
        return len(fleet.old) - (live - share_of(live, self._share(record)))

    def _without_surge(self, fleet: Fleet, record: FleetRecord) -> Decision:
        excess = self._excess(fleet, record)
        if excess > 0 and overhang(fleet):
            return self._unsettled_before(record) or Act(
                f"note that {overhang(fleet)} instances are more than desired capacity, and protected",
                lambda: self._intend_surge(fleet, record, nothing_raised(fleet)),
            )
        if excess > 0:
            raise FleetError(
                f"fleet {fleet.name}: {excess} instances are not current but no capacity was raised for "
                "them: the launch template changed after scale_out; start a new run"
            )
        return self._done(fleet, record)

    def _done(self, fleet: Fleet, record: FleetRecord) -> Act | Wait | Done:
        """Hand over what this wave retired, and an earlier run: what is drained already is seen at once."""
        if record.before and str(self._wave) not in record.exposure:
            return self._note_exposure(fleet, record)
        ids = gone(fleet, record, self._wave)
        chunks = [ids[start : start + DRAIN_CHUNK] for start in range(0, len(ids), DRAIN_CHUNK)]
        return Done(f"{len(ids)} old instances retired" if ids else "no old instance to retire", chunks)

    def _next(self, fleet: Fleet, record: FleetRecord, surge: Surge, live: int) -> Decision:
        excess = self._excess(fleet, record)
        if excess <= 0:
            return self._done(fleet, record)
        left = surge_left(fleet, record)
        # What was raised for the others is used up, or somebody's minimum took it.
        unforeseen = not overhang(fleet) and len(came_back(fleet, record)) == len(fleet.old)
        if left == 0 and (surge.outbid or unforeseen) and (act := self._more(fleet, record)):
            return act
        beyond = 0 if left else overhang(fleet)
        if left + beyond == 0:
            raise FleetError(
                f"fleet {fleet.name}: {excess} old instances are left and no raised capacity stands in for "
                "them; start a new run, which raises it again"
            )
        batch = next_to_retire(fleet, surge, live, min(excess, left + beyond, RETIRE_BATCH))
        if not batch:
            return self._wait(fleet, live, excess)
        names = [instance.instance_id for instance in batch]
        return Act(
            f"note the intent: retire {', '.join(names)}",
            lambda: self._intend(record, surge, names, lowers=not beyond),
        )

    def _note_exposure(self, fleet: Fleet, record: FleetRecord) -> Act:
        exposure = Exposure(
            current=len(fleet.current),
            counted=len(fleet.counted),
            retired=len(record.retired),
            at=self._ledger.now(),
        )
        return Act(
            f"note that wave {self._wave} of {len(record.waves)} left {exposure.current} of "
            f"{exposure.counted} instances new",
            lambda: self._ledger.update_fleet(
                self._name,
                lambda record: record.model_copy(
                    update={"exposure": {str(self._wave): exposure, **record.exposure}}
                ),
            ),
        )

    def _wait(self, fleet: Fleet, live: int, waiting: int) -> Wait:
        deadline = self._deadline("retire")
        if self._ledger.now() >= deadline:
            raise CapacityError(
                f"fleet {fleet.name}: {waiting} old instances cannot be retired: only {fleet.ready_count} "
                f"instances are healthy and {live} must be; look at the new instances' health"
            )
        return Wait(
            f"{waiting} old instances wait: {fleet.ready_count} healthy, floor {live}, "
            f"{self._passed(deadline)}"
        )

    def _intend(self, record: FleetRecord, surge: Surge, names: list[str], *, lowers: bool) -> None:
        sizes = lowered(surge, len(names)) if lowers else {}
        changed = surge.model_copy(update={"retiring": (*surge.retiring, *names), **sizes})
        retired = (*record.retired, *names)
        self._change(surge, {"surge": changed, "retired": retired}, renews="retire")

    def _keep(self, fleet: Fleet, surge: Surge, strays: list[str]) -> None:
        kept = surge.model_copy(
            update={
                "retiring": tuple(one for one in surge.retiring if one not in strays),
                "minimum": surge.minimum + len(strays),
                # Cut off before the minimum was lowered for them, it stands as before.
                "previous": fleet.minimum if surge.owns(fleet.minimum) else surge.minimum,
            }
        )
        self._change(surge, {"surge": kept})

    def _set_minimum(self, fleet: Fleet, minimum: int) -> None:
        self._stamp()
        self._clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=fleet.group, MinSize=minimum)

    def _terminate(self, victim: Instance, *, decrement: bool = True) -> None:
        self._stamp()
        try:
            self._clients.autoscaling.terminate_instance_in_auto_scaling_group(
                InstanceId=victim.instance_id, ShouldDecrementDesiredCapacity=decrement
            )
        except ClientError as error:
            # Gone between look and act, or taken by a policy: the next picture shows it.
            if error_code(error) == "ScalingActivityInProgress" or (
                error_code(error) == "ValidationError" and "not found" in error_text(error)
            ):
                return
            raise
