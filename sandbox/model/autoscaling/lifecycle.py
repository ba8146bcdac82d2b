"""Lifecycle hooks: they hold an instance until they are completed, or time out.

Source: Auto Scaling user guide, "How lifecycle hooks work in Auto Scaling groups" and "Considerations and
limitations for lifecycle hooks" (heartbeat and global timeout; ABANDON ends the other actions; CONTINUE lets
them complete).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.state import LAUNCHING, Group, Hook, LifecycleAction, Member
from sandbox.model.errors import ServiceError, validation_error

if TYPE_CHECKING:
    from sandbox.model.account import Account

CONTINUE = "CONTINUE"
ABANDON = "ABANDON"
_EVENTS = {True: "EC2 Instance-launch Lifecycle Action", False: "EC2 Instance-terminate Lifecycle Action"}


class Lifecycle:
    """Holds instances at hooks, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def hold(self, member: Member, transition: str, then: Callable[[str], None]) -> bool:
        """Put an instance into its wait state, if the group has hooks for the transition.

        :param then: called with the result once no action is left.
        :return: whether it is held; if not, ``then`` is never called.
        """
        hooks = [hook for hook in member.group.hooks.values() if hook.transition == transition]
        if not hooks:
            return False
        state = "Pending:Wait" if transition == LAUNCHING else "Terminating:Wait"
        member.state = f"Warmed:{state}" if member.warm else state
        member.when_completed = then
        now = self._account.clock.now()
        for hook in hooks:
            action = LifecycleAction(
                token=self._account.new_id(), hook=hook, deadline=now + hook.global_timeout_seconds
            )
            member.actions[action.token] = action
            self._restart(member, action)
        for action in list(member.actions.values()):
            self._tell(member, action)
        return True

    def release(self, member: Member) -> None:
        """Drop an instance's waiting actions without a result."""
        for action in member.actions.values():
            if action.timer is not None:
                action.timer.cancel()
        member.actions.clear()
        member.when_completed = None

    def complete(self, member: Member, action: LifecycleAction, result: str) -> None:
        """End one action of an instance."""
        if action.timer is not None:
            action.timer.cancel()
        member.actions.pop(action.token, None)
        if member.actions and result == CONTINUE:
            return
        then = member.when_completed
        self.release(member)
        if then is not None:
            then(result)

    def heartbeat(self, member: Member, action: LifecycleAction) -> None:
        """Restart an action's heartbeat timeout; the global timeout stays."""
        self._restart(member, action)

    def find(
        self, group: Group, hook_name: str, *, token: str | None, instance_id: str | None
    ) -> tuple[Member, LifecycleAction]:
        """Find a waiting action by its token or by its instance.

        :raises ServiceError: ``ValidationError`` if there is none.
        """
        if hook_name not in group.hooks:
            raise validation_error(f"Lifecycle hook not found with name {hook_name}")
        members = self._candidates(group, instance_id)
        for member in members:
            for action in member.actions.values():
                if action.hook.name == hook_name and token in (None, action.token):
                    return member, action
        raise self._none_active(token, instance_id)

    def delete_hook(self, group: Group, hook: Hook) -> None:
        """Delete a hook; what it holds goes on first: ABANDON when launching, CONTINUE when terminating.

        Source: API reference, DeleteLifecycleHook.
        """
        result = ABANDON if hook.transition == LAUNCHING else CONTINUE
        for member in [*group.members.values(), *group.pool.values()]:
            for action in list(member.actions.values()):
                if action.hook.name == hook.name:
                    self.complete(member, action, result)
        group.hooks.pop(hook.name, None)

    @staticmethod
    def _candidates(group: Group, instance_id: str | None) -> list[Member]:
        if instance_id is None:
            return [*group.members.values(), *group.pool.values()]
        member = group.members.get(instance_id) or group.pool.get(instance_id)
        return [member] if member is not None else []

    @staticmethod
    def _none_active(token: str | None, instance_id: str | None) -> ServiceError:
        what = f"instance ID {instance_id}" if token is None else f"token {token}"
        return validation_error(f"No active Lifecycle Action found with {what}")

    def _restart(self, member: Member, action: LifecycleAction) -> None:
        if action.timer is not None:
            action.timer.cancel()
        when = min(self._account.clock.now() + action.hook.heartbeat_timeout_seconds, action.deadline)
        action.timer = self._account.clock.call_at(
            when, lambda: self.complete(member, action, action.hook.default_result)
        )

    def _tell(self, member: Member, action: LifecycleAction) -> None:
        launching = action.hook.transition == LAUNCHING
        if launching:
            origin = "WarmPool" if member.from_pool else "EC2"
            destination = "WarmPool" if member.warm else "AutoScalingGroup"
        else:
            origin, destination = "WarmPool" if member.warm else "AutoScalingGroup", "EC2"
        detail = {
            "LifecycleActionToken": action.token,
            "AutoScalingGroupName": member.group.name,
            "LifecycleHookName": action.hook.name,
            "EC2InstanceId": member.instance_id,
            "LifecycleTransition": action.hook.transition,
            "Origin": origin,
            "Destination": destination,
        }
        if action.hook.notification_metadata is not None:
            detail["NotificationMetadata"] = action.hook.notification_metadata
        self._account.bus.put("aws.autoscaling", _EVENTS[launching], [member.group.arn], detail)
