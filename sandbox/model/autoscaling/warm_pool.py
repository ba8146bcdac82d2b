"""Warm pools: instances launched ahead that wait, stopped or running, until their group scales out.

Sources: Auto Scaling user guide, "Decrease latency for applications with long boot times using warm pools"
and "Use lifecycle hooks with a warm pool in Auto Scaling group" (states, what the pool's size is, hooks apply
on entering and on leaving); API reference, PutWarmPool, DeleteWarmPool. What waits keeps the launch template
version it was launched from. Which zone a scale-out takes from is not documented: the one it would launch
into first, then any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.state import LAUNCHING, TERMINATING, Activity, Group, Member
from sandbox.model.instances import GONE, Instance
from sandbox.model.ports import LaunchError

if TYPE_CHECKING:
    from sandbox.model.account import Account

READY = {"Stopped": "Warmed:Stopped", "Running": "Warmed:Running"}
"""Lifecycle state of what waits, by the pool's state."""
ENDING = "Warmed:Terminating"


@dataclass(kw_only=True)
class WarmPool:
    """A pool's settings."""

    min_size: int = 0
    prepared: int | None = None
    """``MaxGroupPreparedCapacity``; None: the group's maximum."""
    state: str = "Stopped"
    deleting: bool = False

    def size(self, group: Group) -> int:
        """Return how many instances are to wait."""
        limit = group.max_size if self.prepared is None else self.prepared
        return 0 if self.deleting else max(self.min_size, limit - group.desired)


class WarmPools:
    """Keeps warm pools filled and hands out what waits in them, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        account.instances.listen(self._instance_changed)

    def delete(self, group: Group, *, force: bool) -> None:
        """Begin to delete a group's pool with what waits in it.

        :param force: without lifecycle hooks.
        """
        if group.warm_pool is None:
            return
        group.warm_pool.deleting = True
        for member in list(group.pool.values()):
            self.end(member, force=force)
        self._bury(group)

    def refill(self, group: Group) -> None:
        """Launch into the pool, or end some of it, until its size is right."""
        pool = group.warm_pool
        if pool is None:
            return
        waiting = [each for each in group.pool.values() if not each.state.startswith(ENDING)]
        missing = pool.size(group) - len(waiting)
        for member in waiting[: max(0, -missing)]:
            self.end(member)
        if not group.active("Launch") or self._account.clock.now() < group.retry_at:
            return
        for _ in range(missing):
            counts = {zone: sum(each.zone == zone for each in group.pool.values()) for zone in group.zones}
            fewest = [zone for zone in group.zones if counts[zone] == min(counts.values())]
            zone = self._account.random.choice(fewest)
            cause = self._account.groups.activities.sentence("an instance was launched into the warm pool.")
            try:
                self._account.groups.launches.begin(group, zone, cause, warm=True)
            except LaunchError as refusal:
                subnet_id = next(subnet for subnet, its_zone in group.subnets.items() if its_zone == zone)
                message = f"{refusal.message.rstrip('.')}."
                self._account.groups.activities.refused(group, cause, message, zone=zone, subnet_id=subnet_id)
                self._account.groups.capacity.launch_failed(group)
                self._account.groups.capacity.wake(group)
                return

    def take(self, group: Group, zone: str, cause: str) -> Member | None:
        """Begin to bring an instance that waits into service; None if none does.

        :param zone: taken from first.
        """
        ready = [each for each in group.pool.values() if each.state in READY.values()]
        if not ready or group.warm_pool is None or group.warm_pool.deleting:
            return None
        near = [each for each in ready if each.zone == zone]
        member = self._account.random.choice(near or ready)
        del group.pool[member.instance_id]
        group.members[member.instance_id] = member
        member.warm, member.from_pool, member.protected = False, True, group.protect_new
        activities = self._account.groups.activities
        member.activity = activities.begin(
            group,
            f"Launching a new EC2 instance from warm pool: {member.instance_id}",
            cause,
            zone=member.zone,
            subnet_id=member.subnet_id,
        )
        activities.step(member.activity, "PreInService", 30)
        stopped, member.state = member.state == "Warmed:Stopped", "Pending"
        if stopped:
            self._account.instances.start(member.instance_id)
        else:
            self._account.groups.launches.came_up(member)
        return member

    def end(self, member: Member, *, force: bool = False) -> Activity:
        """Begin to end an instance that waits.

        :param force: without lifecycle hooks.
        :return: its activity, the running one if it was ending already.
        """
        if member.state.startswith(ENDING) and member.activity is not None and not force:
            return member.activity
        groups = self._account.groups
        groups.lifecycle.release(member)
        groups.activities.end(member.activity, "Cancelled", "The instance was terminated in the warm pool.")
        cause = groups.activities.sentence("an instance was taken out of the warm pool.")
        activity = member.activity = groups.activities.begin(
            member.group,
            f"Terminating EC2 instance: {member.instance_id}",
            cause,
            zone=member.zone,
            subnet_id=member.subnet_id,
        )
        never_ran, member.state = member.state == "Warmed:Pending", ENDING
        nothing_left = never_ran or self._account.instances.get(member.instance_id).state in GONE
        held = (
            not force
            and not nothing_left
            and groups.lifecycle.hold(member, TERMINATING, lambda _result: self._end(member))
        )
        if not held:
            self._end(member)
        return activity

    def _end(self, member: Member) -> None:
        member.state = "Warmed:Terminating:Proceed"
        if self._account.instances.get(member.instance_id).state == "terminated":
            self._gone(member)
        else:
            self._account.instances.terminate(member.instance_id, "User initiated")

    def _instance_changed(self, instance: Instance, _before: str) -> None:
        member = self._account.groups.member(instance.instance_id)
        if member is None or not member.warm:
            return
        if instance.state == "terminated":
            self._gone(member)
        elif instance.state in GONE:
            self.end(member)
        elif instance.state == "running" and member.state == "Warmed:Pending":
            groups = self._account.groups
            if not groups.lifecycle.hold(member, LAUNCHING, lambda result: self._entered(member, result)):
                self._entered(member, "CONTINUE")
        elif instance.state == "stopped" and member.state == "Warmed:Pending:Proceed":
            self._wait(member, "Warmed:Stopped")

    def _entered(self, member: Member, result: str) -> None:
        pool = member.group.warm_pool
        if result == "ABANDON" or pool is None:
            self.end(member)
            return
        member.state = "Warmed:Pending:Proceed"
        if pool.state == "Running":
            self._wait(member, "Warmed:Running")
        else:
            # Later, so that whoever hears that it runs does not hear before that it stops.
            self._account.clock.call_later(0.0, lambda: self._stop(member))

    def _stop(self, member: Member) -> None:
        if member.state == "Warmed:Pending:Proceed":
            self._account.instances.stop(member.instance_id, "User initiated")

    def _wait(self, member: Member, state: str) -> None:
        member.state = state
        self._account.groups.activities.end(member.activity, "Successful")
        self._account.groups.capacity.wake(member.group)

    def _gone(self, member: Member) -> None:
        groups = self._account.groups
        groups.lifecycle.release(member)
        groups.activities.end(member.activity, "Successful")
        member.group.pool.pop(member.instance_id, None)
        groups.remove_member(member)
        self._bury(member.group)

    @staticmethod
    def _bury(group: Group) -> None:
        if group.warm_pool is not None and group.warm_pool.deleting and not group.pool:
            group.warm_pool = None
