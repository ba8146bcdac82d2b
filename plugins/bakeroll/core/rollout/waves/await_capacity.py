"""Wait until new instances serve, and say why if they do not."""

from __future__ import annotations

from collections.abc import Sequence

from bakeroll.core.errors import CapacityError
from bakeroll.core.rollout import health
from bakeroll.core.rollout.capacity import live_target, share_of
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Decision, Done, Wait


class AwaitCapacity(FleetStep):
    """Wait until this wave's new instances are in service and healthy in every target group."""

    what_serves = "new instances"
    next_step = "The old instances serve on; mend that"
    """What the person who reads of a failure does next."""

    def _look(self) -> Decision:
        """Count what serves; give up when AWS says that it cannot come, or when time is up."""
        fleet, record = self._picture()
        wanted = share_of(live_target(fleet, record), self._share(record))
        if fleet.ready_current >= wanted:
            return Done(f"{fleet.ready_current} of {wanted} {self.what_serves} in service and healthy")
        deadline = self._deadline("await_capacity")
        if record.surge and fleet.ready_current >= share_of(record.surge.live, self._share(record)) < wanted:
            # What was raised serves: what somebody added since has a time of its own.
            deadline = max(deadline, self._deadline(f"await_capacity.{wanted}"))
        launches = health.failed_launches(
            self._clients.autoscaling, fleet.group, since=deadline - self._timeout
        )
        hopeless = next((launch for launch in launches if launch.final), None)
        if hopeless:
            raise CapacityError(
                f"fleet {fleet.name}: {fleet.group} cannot launch {self.what_serves}: {hopeless.message} "
                f"{self.next_step}"
            )
        if self._ledger.now() >= deadline:
            raise CapacityError(self._too_late(fleet, wanted, launches))
        latest = f"; last failed launch: {launches[0].message}" if launches else ""
        return Wait(f"{fleet.progress(wanted)}, {self._passed(deadline)}{latest}")

    def _too_late(self, fleet: Fleet, wanted: int, launches: Sequence[health.FailedLaunch]) -> str:
        unready = [instance for instance in fleet.current if not fleet.ready(instance)]
        said = health.evidence(launches, [target for one in unready for target in one.targets])
        return (
            f"fleet {fleet.name}: only {fleet.progress(wanted)} after {self._timeout:.0f} s; "
            f"AWS says: {said or 'nothing about why'}. {self.next_step}"
        )
