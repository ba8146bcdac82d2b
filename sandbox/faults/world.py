"""Lets things happen to an account's instances and groups.

Sources: EC2 user guide, "Spot Instance interruption notices" (event and two minutes); EC2 API reference,
StateReason (codes); Auto Scaling user guide, "Verify a scaling activity" (what alarms leave in the cause) and
"Suspend and resume processes" (AlarmNotification).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sandbox.faults.board import Board
from sandbox.faults.errors import FaultSettingError
from sandbox.faults.events import EventRule
from sandbox.faults.scope import ScopedRule
from sandbox.model.autoscaling.state import Group
from sandbox.model.instances import GONE, Instance
from sandbox.model.ports import LaunchSpec

if TYPE_CHECKING:
    from sandbox.model.account import Account

INTERRUPTION_SECONDS = 120.0


class World:
    """Where faults of instances and groups act.

    :param random: draws whom they happen to.
    """

    def __init__(self, account: Account, random: Random) -> None:
        self._account = account
        self._random = random

    def spec(self, instance_id: str) -> LaunchSpec:
        """Return what an instance was launched from."""
        return self._account.instances.get(instance_id).spec

    def begin(self, rule: EventRule, board: Board) -> int:
        """Let something happen now or later, as the rule says.

        :return: the setting's id.
        :raises FaultSettingError: if there is no such instance or group; then nothing happens.
        """
        with self._account.lock:
            self._require(rule)
            number = board.add(rule)
            if rule.after:
                self._later(rule.after, number, rule, board)
            else:
                self._happen(number, rule, board)
        return number

    def lost_sight_of(self, rule: ScopedRule) -> None:
        """Have Auto Scaling look at the instances that can no longer be reached."""
        with self._account.lock:
            for instance in self._account.instances:
                if rule.matches(instance.spec, instance.instance_id):
                    self._account.groups.health.impaired(instance.instance_id)

    def _require(self, rule: EventRule) -> None:
        if rule.instance is not None and self._drawn(rule) is None:
            message = f"instance is {rule.instance!r}, but no such instance is there"
            raise FaultSettingError(message)
        if rule.group is not None and self._account.groups.find(rule.group) is None:
            names = ", ".join(sorted(group.name for group in self._account.groups)) or "none"
            message = f"group is {rule.group!r}, but the Auto Scaling groups are: {names}"
            raise FaultSettingError(message)

    def _later(self, seconds: float, number: int, rule: EventRule, board: Board) -> None:
        rule.timer = self._account.clock.call_later(seconds, lambda: self._happen(number, rule, board))

    def _happen(self, number: int, rule: EventRule, board: Board) -> None:
        """Let it happen once, and see to its next time."""
        if not board.stands(number):
            return  # cleared in the same moment
        if self._act(rule):
            rule.hits += 1
        if rule.count is not None:
            rule.count -= 1
        if rule.spent:
            board.discard(number)
        elif rule.every is not None:
            self._later(rule.every, number, rule, board)

    def _act(self, rule: EventRule) -> bool:
        """Do it; tells whether there was anything for it to happen to."""
        if rule.fault == "scaling-policy":
            group = self._account.groups.find(rule.group or "")
            return group is not None and self._scale(group, rule)
        instance = self._drawn(rule)
        if instance is None:
            return False
        if rule.fault == "spot-interruption":
            self._interrupt(instance, INTERRUPTION_SECONDS if rule.seconds is None else rule.seconds)
        elif rule.how == "terminated":
            reason = "Server.InternalError: Server.InternalError: Internal error"
            self._account.instances.terminate(instance.instance_id, reason)
        else:
            self._account.hypervisor.crash(instance.instance_id)
        return True

    def _drawn(self, rule: EventRule) -> Instance | None:
        if rule.instance is not None:
            found = self._account.instances.find(rule.instance)
            return found if found is not None and found.state not in GONE else None
        group = self._account.groups.find(rule.group or "")
        members = group.members if group is not None else {}
        live = [each for each in map(self._account.instances.get, members) if each.state == "running"]
        return self._random.choice(live) if live else None

    def _interrupt(self, instance: Instance, seconds: float) -> None:
        instance_id = instance.instance_id
        self._account.bus.put(
            "aws.ec2",
            "EC2 Spot Instance Interruption Warning",
            # "This format differs from the EC2 resource ARN format": with the zone and without the account.
            [f"arn:aws:ec2:{instance.spec.availability_zone}:instance/{instance_id}"],
            {"instance-id": instance_id, "instance-action": "terminate"},
        )
        reason = "Server.SpotInstanceTermination: Server.SpotInstanceTermination: Spot instance termination"
        self._account.clock.call_later(
            seconds, lambda: self._account.instances.terminate(instance_id, reason)
        )

    def _scale(self, group: Group, rule: EventRule) -> bool:
        if not group.active("AlarmNotification"):
            return False
        wanted = rule.to if rule.to is not None else group.desired + (rule.by or 0)
        wanted = min(max(wanted, group.min_size), group.max_size)
        if wanted == group.desired or group.deleting:
            return False
        side = "High" if wanted > group.desired else "Low"
        policy = rule.policy or "sandbox"
        text = (
            f"a monitor alarm TargetTracking-{group.name}-Alarm{side} in state ALARM triggered policy "
            f"{policy} changing the desired capacity from {group.desired} to {wanted}."
        )
        group.causes.append(self._account.groups.activities.sentence(text))
        group.desired = wanted
        self._account.groups.capacity.wake(group, asked=True)
        return True
