"""Give everything back at the end of a rollout, and see the whole fleet current."""

from __future__ import annotations

from bakeroll.core.errors import FleetError
from bakeroll.core.rollout.capacity import REBALANCE, came_back, owns_sizes, sizes_after, surge_left
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import Before, FleetRecord
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Act, Decision, Done, Wait

PROTECTION_CHUNK = 50
"""SetInstanceProtection takes at most 50 instance ids (API reference, InstanceIds)."""


class Settle(FleetStep):
    """Give back minimum, maximum, protection and processes, and see the whole fleet current."""

    def _look(self) -> Decision:
        """Decide what is still to be given back, then whether the fleet is as it should be."""
        fleet, record = self._picture()
        retired = str(self._wave) in record.exposure  # else they are what this wave has yet to retire
        late = came_back(fleet, record) if retired else []
        if len(fleet.old) > len(late):
            self._check_waves(record)
            raise FleetError(
                f"fleet {fleet.name}: {len(fleet.old)} of {len(fleet.counted)} instances are not current "
                f"({', '.join(one.instance_id for one in fleet.old[:5])}); start a new run"
            )
        if record.before:
            return self._give_back(fleet, record, record.before)
        if fleet.ready_current >= fleet.desired - len(late):
            more = f"; {', '.join(late)} came back from Standby: the next run replaces it" if late else ""
            return Done(
                f"all {fleet.ready_current} instances of {fleet.group} are current and healthy{more}",
                {
                    "instances": [one.instance_id for one in fleet.current],
                    "retired": list(record.went),
                    "retained": list(record.retained),
                    "lost": list(record.lost),
                    "template_version": fleet.template_version,
                },
            )
        return self._wait_for(fleet)

    def _wait_for(self, fleet: Fleet) -> Wait:
        deadline = self._deadline("verify")
        if self._ledger.now() >= deadline:
            raise FleetError(
                f"fleet {fleet.name}: {fleet.progress(fleet.desired)} at the end of the rollout; "
                "look at the scaling activities of the group"
            )
        return Wait(f"{fleet.progress(fleet.desired)}, {self._passed(deadline)}")

    def _give_back(self, fleet: Fleet, record: FleetRecord, before: Before) -> Decision:
        surge = record.surge
        if surge and not owns_sizes(fleet, surge) and (wait := self._unsettled(surge)):
            return wait
        minimum, maximum = sizes_after(fleet, before, surge)
        if (minimum, maximum) != (fleet.minimum, fleet.maximum) or (
            fleet.new_instances_protected and not before.protected
        ):
            return Act(
                f"give back MinSize {fleet.minimum} -> {minimum}, MaxSize {fleet.maximum} -> {maximum}",
                lambda: self._restore(fleet, before, minimum, maximum),
            )
        if REBALANCE in fleet.suspended and REBALANCE not in before.suspended:
            return Act(f"resume {REBALANCE}", lambda: self._resume(fleet))
        launched = [one for one in fleet.current if one.instance_id not in before.standing]
        protected = [one for one in launched if one.protected and not before.protected]
        # AWS refuses the whole call for one that is not in service (API reference, SetInstanceProtection).
        ours = [one.instance_id for one in protected if one.lifecycle_state == "InService"]
        if protected and not ours:
            return self._wait_for(fleet)
        if ours:
            return Act(
                f"end the scale-in protection of {len(ours)} instances",
                lambda: self._unprotect(fleet, ours),
            )
        return self._nothing_to_give_back(fleet, record)

    def _nothing_to_give_back(self, fleet: Fleet, record: FleetRecord) -> Decision:
        """Note that all is given back; but a picture from before the raise shows nothing of ours either."""
        if record.surge and (wait := self._too_young(record.surge.attempted_at or 0.0)):
            return wait
        left = surge_left(fleet, record)
        more = f"; {left} more than before, since old instances were replaced meanwhile" if left else ""
        return Act(f"note that everything is given back{more}", self._forget)

    def _restore(self, fleet: Fleet, before: Before, minimum: int, maximum: int) -> None:
        self._ledger.read()
        self._clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=fleet.group,
            MinSize=minimum,
            MaxSize=maximum,
            NewInstancesProtectedFromScaleIn=fleet.new_instances_protected and before.protected,
        )

    def _resume(self, fleet: Fleet) -> None:
        self._ledger.read()
        self._clients.autoscaling.resume_processes(
            AutoScalingGroupName=fleet.group, ScalingProcesses=[REBALANCE]
        )

    def _unprotect(self, fleet: Fleet, instance_ids: list[str]) -> None:
        self._ledger.read()
        for start in range(0, len(instance_ids), PROTECTION_CHUNK):
            self._clients.autoscaling.set_instance_protection(
                AutoScalingGroupName=fleet.group,
                InstanceIds=instance_ids[start : start + PROTECTION_CHUNK],
                ProtectedFromScaleIn=False,
            )

    def _forget(self) -> None:
        def forgotten(record: FleetRecord) -> FleetRecord:
            stood = record.before.standing if record.before else record.stood
            update = {"surge": None, "before": None, "stood": stood, "given_back_at": self._ledger.now()}
            return record.model_copy(update=update)

        self._ledger.update_fleet(self._name, forgotten)
