"""Terminating: out of the target groups, termination hooks, the end; or retained for a person.

Sources: Auto Scaling user guide, "How lifecycle hooks work in Auto Scaling groups" (order) and "Manage
retained instances".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.model.autoscaling import activities
from sandbox.model.autoscaling.lifecycle import ABANDON
from sandbox.model.autoscaling.state import ENDING, PENDING, TERMINATING, Activity, Member
from sandbox.model.instances import GONE, Instance

if TYPE_CHECKING:
    from sandbox.model.account import Account

USER_REASON = "User initiated"


class Terminations:
    """Ends instances, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        account.instances.listen(self._instance_changed)

    def begin(self, member: Member, cause: str) -> Activity:
        """Begin to end an instance; one that is retained ends at once, without hooks.

        :return: its activity, the running one if it was ending already.
        """
        if member.state in ENDING and member.state != "Terminating:Retained" and member.activity is not None:
            return member.activity
        was = member.state
        activity = self._replace_activity(member, cause)
        member.state = "Terminating"
        member.group.rebalancing.discard(member.instance_id)
        self._account.groups.capacity.wake(member.group)
        if was == "Terminating:Retained":
            self._end(member)
            return activity
        if was == "Pending":
            # It never ran: there is nothing to drain and nothing a hook could save.
            self._end(member)
            return activity
        if member.registered:
            self._account.groups.activities.step(activity, "WaitingForELBConnectionDraining", 50)
        self._account.groups.traffic.leave(member, lambda: self._hold(member))
        return activity

    def give_up(self, member: Member, message: str) -> None:
        """End an instance that did not come into service; its launch is recorded as cancelled."""
        groups = self._account.groups
        groups.lifecycle.release(member)
        groups.activities.end(member.activity, "Cancelled", message)
        groups.activities.tell(member, activities.LAUNCH)
        groups.capacity.launch_failed(member.group)
        text = "an instance was taken out of service in response to a launch failure."
        self.begin(member, groups.activities.sentence(text))

    def at_once(self, member: Member) -> None:
        """End an instance without draining and without hooks, as a forced deletion of its group does."""
        self._account.groups.lifecycle.release(member)
        member.when_drained = None
        cause = self._account.groups.activities.sentence("the Auto Scaling group was deleted by force.")
        if member.state not in ENDING or member.state == "Terminating:Retained":
            self._replace_activity(member, cause)
        member.state = "Terminating"
        self._end(member)

    def _replace_activity(self, member: Member, cause: str) -> Activity:
        groups = self._account.groups
        groups.lifecycle.release(member)
        if member.state in PENDING:
            message = "The instance was terminated before it was in service."
            groups.activities.end(member.activity, "Cancelled", message)
        member.activity = groups.activities.begin(
            member.group,
            f"Terminating EC2 instance: {member.instance_id}",
            cause,
            zone=member.zone,
            subnet_id=member.subnet_id,
        )
        return member.activity

    def _hold(self, member: Member) -> None:
        groups = self._account.groups
        if self._account.instances.get(member.instance_id).state in GONE:
            # Nothing is left that a hook could hold: the instance was terminated directly in EC2.
            self._end(member)
        elif groups.lifecycle.hold(member, TERMINATING, lambda result: self._completed(member, result)):
            groups.activities.step(member.activity, "MidLifecycleAction", 60)
        else:
            self._end(member)

    def _completed(self, member: Member, result: str) -> None:
        member.state = "Terminating:Proceed"
        if result == ABANDON and member.group.retain_abandoned:
            member.state = "Terminating:Retained"
            self._account.groups.activities.end(
                member.activity,
                "Cancelled",
                "Instance failed to complete user's Lifecycle Action: Lifecycle Action was abandoned. "
                "The instance is retained.",
            )
            return
        self._end(member)

    def _end(self, member: Member) -> None:
        self._account.groups.activities.step(member.activity, "InProgress", 80)
        instance = self._account.instances.get(member.instance_id)
        if instance.state == "terminated":
            self._gone(member)
        else:
            self._account.instances.terminate(member.instance_id, USER_REASON)

    def _instance_changed(self, instance: Instance, _before: str) -> None:
        if instance.state != "terminated":
            return
        member = self._account.groups.member(instance.instance_id)
        if member is not None and member.state in ENDING:
            self._gone(member)

    def _gone(self, member: Member) -> None:
        groups = self._account.groups
        groups.lifecycle.release(member)
        member.when_drained = None
        groups.activities.end(member.activity, "Successful")
        groups.activities.tell(member, activities.TERMINATE)
        groups.remove_member(member)
