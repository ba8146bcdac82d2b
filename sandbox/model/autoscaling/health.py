"""Health checks of a group's instances, and the replacement of unhealthy ones.

Source: Auto Scaling user guide, "Health checks for instances in an Auto Scaling group".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.model.autoscaling.state import Group, Member
from sandbox.model.instances import Instance
from sandbox.model.targets import Target

if TYPE_CHECKING:
    from sandbox.model.account import Account

EC2_CAUSE = (
    "an instance was taken out of service in response to an EC2 health check indicating it has been "
    "terminated or stopped."
)
STATUS_CAUSE = "an instance was taken out of service in response to an EC2 instance status check failure."
ELB_CAUSE = "an instance was taken out of service in response to an ELB system health check failure."
USER_CAUSE = "an instance was taken out of service in response to a user health-check."


class Health:
    """Watches instances and targets, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        account.instances.listen(self._instance_changed)
        account.targets.listen(self._target_changed)

    def arrived(self, member: Member) -> None:
        """Look at an instance that came into service once its grace period is over."""
        if "ELB" in member.group.health_check_type or self._account.impaired(member.instance_id):
            self._account.clock.call_at(member.grace_until, lambda: self.check(member))

    def impaired(self, instance_id: str) -> None:
        """Look at an instance whose status checks began to fail, once its grace period is over."""
        member = self._account.groups.member(instance_id)
        if member is not None:
            seen = self._account.clock.now() + self._account.times.health_check_seconds
            self._account.clock.call_at(max(seen, member.grace_until), lambda: self.check(member))

    def check(self, member: Member) -> None:
        """Check one instance now."""
        group = member.group
        if member.state != "InService" or not group.active("HealthCheck"):
            return
        if member.health == "Unhealthy":
            self._replace(member)
        elif self._account.instances.get(member.instance_id).state not in {"pending", "running"}:
            # The grace period does not cover an instance that no longer runs.
            self.mark(member, EC2_CAUSE)
        elif self._account.clock.now() < member.grace_until:
            return
        elif self._account.impaired(member.instance_id):
            self.mark(member, STATUS_CAUSE)
        elif self._target_unhealthy(member):
            self.mark(member, ELB_CAUSE)

    def check_all(self, group: Group) -> None:
        """Check every instance of a group, after a process was resumed."""
        for member in list(group.members.values()):
            if member.health == "Unhealthy":
                self._replace(member)
            else:
                self.check(member)

    def mark(self, member: Member, cause: str) -> None:
        """Call an instance unhealthy and replace it, unless that is suspended."""
        member.health = "Unhealthy"
        member.health_cause = cause
        self._replace(member)

    def _replace(self, member: Member) -> None:
        group = member.group
        if member.state == "InService" and group.active("ReplaceUnhealthy") and group.active("Terminate"):
            groups = self._account.groups
            groups.terminations.begin(member, groups.activities.sentence(member.health_cause))

    def _target_unhealthy(self, member: Member) -> bool:
        group = member.group
        return "ELB" in group.health_check_type and any(
            target.state == "unhealthy" and target.target_group_arn in group.target_groups
            for target in self._account.targets.of_instance(member.instance_id)
        )

    def _instance_changed(self, instance: Instance, _before: str) -> None:
        if instance.state not in {"pending", "running"}:
            self._later(instance.instance_id)

    def _target_changed(self, target: Target, _before: str) -> None:
        if target.state == "unhealthy":
            self._later(target.instance_id)

    def _later(self, instance_id: str) -> None:
        member = self._account.groups.member(instance_id)
        if member is not None and member.state == "InService":
            seconds = self._account.times.health_check_seconds
            self._account.clock.call_later(seconds, lambda: self.check(member))
