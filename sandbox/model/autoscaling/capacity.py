"""Desired and actual capacity: launches, scale-ins and the balance between zones.

Sources: Auto Scaling user guide, "Set scaling limits for your Auto Scaling group" and "Distribution of
instances across Availability Zones" (rebalancing launches first and may exceed the maximum by a tenth, or
by one).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.launches import NO_CAPACITY
from sandbox.model.autoscaling.policy import victims
from sandbox.model.autoscaling.state import COUNTING, Group, Member
from sandbox.model.ports import LaunchError

if TYPE_CHECKING:
    from sandbox.model.account import Account

_DIFFERENCE = "in response to a difference between desired and actual capacity"


class Capacity:
    """Keeps groups at their desired capacity, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def wake(self, group: Group, *, asked: bool = False) -> None:
        """Look at a group a little later.

        :param asked: whether somebody changed the group, which ends the pause after failed launches.
        """
        if asked:
            group.failures, group.retry_at = 0, 0.0
        now = self._account.clock.now()
        when = now + self._account.times.evaluation_seconds
        if group.evaluation is not None and group.evaluation.pending:
            if group.evaluation.when <= when:
                return
            group.evaluation.cancel()
        group.evaluation = self._account.clock.call_at(when, lambda: self._evaluate(group))

    def launch_failed(self, group: Group) -> None:
        """Wait before the next launch, longer with each failure."""
        times, now = self._account.times, self._account.clock.now()
        if now < group.retry_at:
            return  # instances of one batch failing together are one failure
        seconds = min(times.launch_retry_limit_seconds, times.launch_retry_seconds * 2.0**group.failures)
        group.failures = min(group.failures + 1, 16)
        group.retry_at = now + seconds

    def _evaluate(self, group: Group) -> None:
        if group.deleting:
            return
        actual = group.capacity()
        wanted = group.desired + len(group.rebalancing)
        if wanted > actual:
            self._scale_out(group, actual, wanted)
        elif wanted < actual:
            self._scale_in(group, actual, wanted)
        else:
            group.causes.clear()
            self._watch_balance(group)
        self._account.groups.warm_pools.refill(group)

    def _scale_out(self, group: Group, actual: int, wanted: int) -> None:
        if not group.active("Launch"):
            return
        now = self._account.clock.now()
        if now < group.retry_at:
            retry = self._account.clock.call_at(group.retry_at, lambda: self._evaluate(group))
            group.evaluation = retry
            return
        text = f"an instance was started {_DIFFERENCE}, increasing the capacity from {actual} to {wanted}."
        cause = self._cause(group, text)
        if self._launch(group, wanted - actual, cause):
            group.causes.clear()

    def _launch(self, group: Group, number: int, cause: str, *, elsewhere: bool = True) -> list[Member]:
        """Launch instances into the zones with the fewest.

        :param elsewhere: whether another zone will do where one has no capacity.
        """
        groups = self._account.groups
        counts = Counter(member.zone for member in group.members.values() if member.state in COUNTING)
        zones = group.zones
        launched: list[Member] = []
        while zones and len(launched) < number:
            fewest = min(counts[zone] for zone in zones)
            zone = self._account.random.choice([each for each in zones if counts[each] == fewest])
            try:
                taken = groups.warm_pools.take(group, zone, cause)
                launched.append(taken or groups.launches.begin(group, zone, cause))
            except LaunchError as refusal:
                subnet_id = next(subnet for subnet, its_zone in group.subnets.items() if its_zone == zone)
                message = _ended(refusal.message)
                groups.activities.refused(group, cause, message, zone=zone, subnet_id=subnet_id)
                others = [each for each in zones if each != zone]
                zones = others if elsewhere and refusal.code in NO_CAPACITY else []
            else:
                counts[launched[-1].zone] += 1
        if len(launched) < number:
            if elsewhere:  # a zone without capacity is no reason to wait with launches into others
                self.launch_failed(group)
            self.wake(group)
        else:
            group.failures = 0
        return launched

    def _scale_in(self, group: Group, actual: int, wanted: int) -> None:
        groups = self._account.groups
        chosen = victims(group, actual - wanted, now=self._account.clock.now(), random=self._account.random)
        for number, member in enumerate(chosen):
            text = (
                f"an instance was taken out of service {_DIFFERENCE}, shrinking the capacity "
                f"from {actual - number} to {actual - number - 1}."
            )
            cause = self._cause(group, text)
            selected = groups.activities.sentence(
                f"instance {member.instance_id} was selected for termination."
            )
            groups.terminations.begin(member, f"{cause}  {selected}")
        if len(chosen) == actual - wanted:
            group.causes.clear()

    def _cause(self, group: Group, text: str) -> str:
        return "  ".join([*group.causes, self._account.groups.activities.sentence(text)])

    def _watch_balance(self, group: Group) -> None:
        if group.rebalance is not None and group.rebalance.pending:
            return
        if self._moves(group):
            seconds = self._account.times.rebalance_seconds
            group.rebalance = self._account.clock.call_later(seconds, lambda: self._rebalance(group))

    def _moves(self, group: Group) -> int:
        """Count how many instances have to move for the zones to differ by no more than one."""
        if not (group.active("AZRebalance") and group.active("Launch")) or group.rebalancing:
            return 0
        counting = [member for member in group.members.values() if member.state in COUNTING]
        if any(member.state != "InService" for member in counting) or len(counting) != group.desired:
            return 0
        counts = Counter(dict.fromkeys(group.zones, 0))
        counts.update(member.zone for member in counting)
        free = Counter(member.zone for member in counting if not member.protected)
        return _moves_needed(counts, free, set(group.zones))

    def _rebalance(self, group: Group) -> None:
        moves = 0 if group.deleting else self._moves(group)
        room = max(1, group.max_size // 10) + group.max_size - group.desired
        number = min(moves, room)
        if number <= 0:
            return
        cause = self._account.groups.activities.sentence(
            f"instances were launched to balance instances in zones {' '.join(group.zones)} with other zones "
            "resulting in more than desired number of instances in the group."
        )
        # One in another zone balances nothing: it would be ended again, and launched again, for ever.
        for member in self._launch(group, number, cause, elsewhere=False):
            group.rebalancing.add(member.instance_id)


def _moves_needed(counts: Counter[str], free: Counter[str], enabled: set[str]) -> int:
    counts = Counter(counts)
    moves = 0
    while True:
        target = min(enabled, key=lambda zone: (counts[zone], zone))
        outside = [zone for zone in counts if zone not in enabled and counts[zone] and free[zone] > 0]
        inside = [zone for zone in enabled if free[zone] > 0 and counts[zone] - counts[target] >= 2]
        if not outside and not inside:
            return moves
        source = outside[0] if outside else max(inside, key=lambda zone: (counts[zone], zone))
        if source in enabled and counts[source] < max(counts.values()):
            # A fuller zone is protected as a whole: ending one here would not help the balance.
            return moves
        counts[source] -= 1
        free[source] -= 1
        counts[target] += 1
        moves += 1


def _ended(message: str) -> str:
    return message if message.endswith(".") else f"{message}."
