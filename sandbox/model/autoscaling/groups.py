"""The account's Auto Scaling groups: making, changing and deleting them.

Sources: API reference, CreateAutoScalingGroup, UpdateAutoScalingGroup (what a changed minimum or maximum does
to desired), DeleteAutoScalingGroup, TerminateInstanceInAutoScalingGroup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.activities import Activities
from sandbox.model.autoscaling.capacity import Capacity
from sandbox.model.autoscaling.health import Health
from sandbox.model.autoscaling.launches import Launches
from sandbox.model.autoscaling.lifecycle import Lifecycle
from sandbox.model.autoscaling.standby import Standby
from sandbox.model.autoscaling.state import ENDING, PROCESSES, Activity, Group, Member
from sandbox.model.autoscaling.terminations import Terminations
from sandbox.model.autoscaling.traffic import Traffic
from sandbox.model.autoscaling.warm_pool import WarmPools
from sandbox.model.errors import ServiceError, not_modelled, validation_error

if TYPE_CHECKING:
    from sandbox.model.account import Account

MAX_ACTIVITIES_OF_DELETED = 1000


class Groups:
    """The groups of one account, and the parts of Auto Scaling that act on them."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._by_name: dict[str, Group] = {}
        self._members: dict[str, Member] = {}
        self.deleted_activities: list[Activity] = []
        """Activities of deleted groups, oldest first."""
        self.activities = Activities(account)
        self.lifecycle = Lifecycle(account)
        self.traffic = Traffic(account)
        self.launches = Launches(account)
        self.terminations = Terminations(account)
        self.health = Health(account)
        self.capacity = Capacity(account)
        self.standby = Standby(account)
        self.warm_pools = WarmPools(account)

    def __iter__(self) -> Iterator[Group]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str) -> Group | None:
        """Return a group, None if there is none with this name."""
        return self._by_name.get(name)

    def get(self, name: str) -> Group:
        """Return a group that is not being deleted.

        :raises ServiceError: ``ValidationError``.
        """
        group = self._by_name.get(name)
        if group is None:
            raise validation_error(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return group

    def member(self, instance_id: str) -> Member | None:
        """Return an instance as a member of its group, None if it is in none."""
        return self._members.get(instance_id)

    def members(self) -> Iterable[Member]:
        """Return the members of all groups."""
        return self._members.values()

    def add(self, group: Group) -> None:
        """Add a new group.

        :raises ServiceError: ``AlreadyExists``, or ``ValidationError`` if its limits make no sense.
        """
        if group.name in self._by_name:
            raise ServiceError(
                "AlreadyExists",
                "AutoScalingGroup by this name already exists - "
                f"A group with the name {group.name} already exists",
            )
        _check_limits(group.min_size, group.max_size, group.desired)
        self._by_name[group.name] = group
        group.causes.append(
            self.activities.sentence(
                "a user request created an AutoScalingGroup changing the desired capacity "
                f"from 0 to {group.desired}."
            )
        )
        self.capacity.wake(group, asked=True)

    def resize(
        self,
        group: Group,
        *,
        min_size: int | None = None,
        max_size: int | None = None,
        desired: int | None = None,
    ) -> None:
        """Change a group's limits.

        Without a desired capacity, a minimum above it raises it and a maximum below it lowers it.

        :raises ServiceError: ``ValidationError`` if the limits make no sense.
        """
        new_min = group.min_size if min_size is None else min_size
        new_max = group.max_size if max_size is None else max_size
        new = desired
        if new is None:
            new = group.desired
            if min_size is not None:
                new = max(new, new_min)
            if max_size is not None:
                new = min(new, new_max)
        _check_limits(new_min, new_max, new)
        before = group.desired
        group.min_size, group.max_size, group.desired = new_min, new_max, new
        if new != before:
            text = (
                f"a user request update of AutoScalingGroup constraints to min: {new_min}, max: {new_max}, "
                f"desired: {new} changing the desired capacity from {before} to {new}."
            )
            group.causes.append(self.activities.sentence(text))

    def set_desired(self, group: Group, desired: int) -> None:
        """Set a group's desired capacity.

        :raises ServiceError: ``ValidationError`` outside the group's limits.
        """
        for bad, side, limit in (
            (desired > group.max_size, "above max", group.max_size),
            (desired < group.min_size, "below min", group.min_size),
        ):
            if bad:
                raise validation_error(
                    f"New SetDesiredCapacity value {desired} is {side} value {limit} for the "
                    "AutoScalingGroup."
                )
        before, group.desired = group.desired, desired
        if before != desired:
            text = (
                "a user request explicitly set group desired capacity changing the desired capacity "
                f"from {before} to {desired}."
            )
            group.causes.append(self.activities.sentence(text))
        self.capacity.wake(group, asked=True)

    def terminate(self, member: Member, *, decrement: bool) -> Activity:
        """End an instance by name, also a protected or a retained one.

        :raises ServiceError: ``ValidationError`` if desired would fall below the minimum,
            ``ScalingActivityInProgress`` if it is ending already.
        """
        group = member.group
        if member.state in ENDING and member.state != "Terminating:Retained":
            raise ServiceError(
                "ScalingActivityInProgress",
                f"Instance {member.instance_id} is already being terminated ({member.state}).",
            )
        if member.warm:
            if decrement:
                raise not_modelled("Decrementing desired capacity for an instance in the warm pool")
            return self.warm_pools.end(member)
        text = f"instance {member.instance_id} was taken out of service in response to a user request"
        if decrement:
            if member.state == "Terminating:Retained":
                raise not_modelled("Decrementing desired capacity for an instance that does not count in it")
            if member.state != "Standby":
                self.check_decrement(group, 1)
                group.desired -= 1
                text += f", shrinking the capacity from {group.desired + 1} to {group.desired}"
        return self.terminations.begin(member, self.activities.sentence(f"{text}."))

    def check_decrement(self, group: Group, number: int) -> None:
        """Make sure that desired may be lowered.

        :raises ServiceError: ``ValidationError``.
        """
        if group.desired - number < group.min_size:
            what = (
                f"desiredSize equals minSize ({group.min_size})"
                if group.desired == group.min_size
                else f"desiredSize is {group.desired} and minSize is {group.min_size}"
            )
            raise validation_error(
                f"Currently, {what}. Terminating instance without replacement will violate group's min size "
                "constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min "
                "size."
            )

    def suspend(self, group: Group, processes: Iterable[str]) -> None:
        """Suspend processes, all if none is named."""
        reason = f"User suspended at {self.activities.sentence('').removeprefix('At ').strip()}"
        for process in list(processes) or PROCESSES:
            group.suspended.setdefault(process, reason)

    def resume(self, group: Group, processes: Iterable[str]) -> None:
        """Resume processes, all if none is named, and catch up on what they missed."""
        for process in list(processes) or PROCESSES:
            group.suspended.pop(process, None)
        self.health.check_all(group)
        self.capacity.wake(group, asked=True)

    def delete(self, group: Group, *, force: bool) -> None:
        """Delete a group; by force with its instances, at once and without hooks.

        :raises ServiceError: ``ResourceInUse`` if it has instances, ``ScalingActivityInProgress`` if they
            are ending.
        """
        if group.warm_pool is not None and not force:
            raise ServiceError("ResourceInUse", "You cannot delete an AutoScalingGroup with a warm pool.")
        if group.members and not force:
            if all(member.state in ENDING for member in group.members.values()):
                raise ServiceError(
                    "ScalingActivityInProgress",
                    "You cannot delete an AutoScalingGroup while there are scaling activities in progress "
                    "for that group.",
                )
            raise ServiceError(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance "
                "request(s) still in the group.",
            )
        group.deleting = True
        self.warm_pools.delete(group, force=True)
        group.desired = group.min_size = group.max_size = 0
        for member in list(group.members.values()):
            self.terminations.at_once(member)
        self._bury(group)

    def add_member(self, member: Member) -> None:
        """Note that an instance belongs to its group."""
        held_by = member.group.pool if member.warm else member.group.members
        held_by[member.instance_id] = member
        self._members[member.instance_id] = member

    def remove_member(self, member: Member) -> None:
        """Note that an instance no longer belongs to its group."""
        group = member.group
        group.members.pop(member.instance_id, None)
        group.rebalancing.discard(member.instance_id)
        self._members.pop(member.instance_id, None)
        self.capacity.wake(group)
        self._bury(group)

    def _bury(self, group: Group) -> None:
        if not group.deleting or group.members or group.pool:
            return
        if self._by_name.pop(group.name, None) is not None:
            if group.evaluation is not None:
                group.evaluation.cancel()
            self.deleted_activities.extend(group.activities)
            del self.deleted_activities[:-MAX_ACTIVITIES_OF_DELETED]


def _check_limits(min_size: int, max_size: int, desired: int) -> None:
    if min_size < 0:
        raise validation_error("Min size must not be negative.")
    if max_size < min_size:
        raise validation_error(
            f"Max bound, {max_size}, must be greater than or equal to min bound, {min_size}"
        )
    if not min_size <= desired <= max_size:
        raise validation_error(
            f"Desired capacity:{desired} must be between the specified min size:{min_size} "
            f"and max size:{max_size}"
        )
