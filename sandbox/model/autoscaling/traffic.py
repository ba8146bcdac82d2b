"""The group's target groups: an instance joins them before it is in service and leaves them before it ends.

Source: Auto Scaling user guide, "Use Elastic Load Balancing to distribute incoming application traffic".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.state import Group, Member
from sandbox.model.errors import ServiceError
from sandbox.model.targets import Target

if TYPE_CHECKING:
    from sandbox.model.account import Account


class Traffic:
    """Registers and deregisters members, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        account.targets.listen(self._target_changed)

    def join(self, member: Member) -> None:
        """Register an instance with the group's target groups, unless AddToLoadBalancer is suspended."""
        if member.group.active("AddToLoadBalancer"):
            for arn in member.group.target_groups:
                self._account.targets.register(arn, member.instance_id)
            member.registered = True

    def leave(self, member: Member, then: Callable[[], None]) -> None:
        """Deregister an instance and go on when its deregistration delay is over."""
        group = member.group
        ours = {*group.target_groups, *group.leaving_target_groups}
        targets = self._account.targets
        member.draining = {
            (target.target_group_arn, target.port)
            for target in targets.of_instance(member.instance_id)
            if target.target_group_arn in ours
        }
        member.registered = False
        member.when_drained = then
        for arn, port in sorted(member.draining):
            targets.deregister(arn, member.instance_id, port)
        self._go_on(member)

    def attach(self, group: Group, arn: str) -> None:
        """Add a target group and register the instances in service with it.

        :raises ServiceError: ``ValidationError`` if there is no such target group.
        """
        try:
            self._account.target_groups.spec(arn)
        except KeyError:
            message = (
                f"Provided Target Groups may not be valid. Please ensure they exist and try again. {arn}"
            )
            raise ServiceError("ValidationError", message) from None
        group.leaving_target_groups.pop(arn, None)
        group.target_groups[arn] = None
        if group.active("AddToLoadBalancer"):
            for member in group.members.values():
                if member.state == "InService" and self._running(member):
                    self._account.targets.register(arn, member.instance_id)
                    member.registered = True

    def detach(self, group: Group, arn: str) -> None:
        """Remove a target group; its instances drain."""
        if arn not in group.target_groups:
            return
        del group.target_groups[arn]
        group.leaving_target_groups[arn] = None
        for target in self._account.targets.health(arn):
            if target.instance_id in group.members:
                self._account.targets.deregister(arn, target.instance_id, target.port)

    def state(self, group: Group, arn: str) -> str | None:
        """Return the state of an attachment: Added, InService or Removing; None once it is removed."""
        ours = [each for each in self._account.targets.health(arn) if each.instance_id in group.members]
        if arn in group.target_groups:
            return "InService" if any(each.state == "healthy" for each in ours) else "Added"
        if arn in group.leaving_target_groups and ours:
            return "Removing"
        group.leaving_target_groups.pop(arn, None)
        return None

    def _running(self, member: Member) -> bool:
        return self._account.instances.get(member.instance_id).state in {"pending", "running"}

    def _target_changed(self, target: Target, _before: str) -> None:
        if target.state != "gone":
            return
        member = self._account.groups.member(target.instance_id)
        if member is not None and member.when_drained is not None:
            member.draining.discard((target.target_group_arn, target.port))
            self._go_on(member)

    @staticmethod
    def _go_on(member: Member) -> None:
        if not member.draining and member.when_drained is not None:
            then, member.when_drained = member.when_drained, None
            then()
