"""Standby and detaching: an instance leaves service, or the group, without ending.

Source: Auto Scaling user guide, "Temporarily remove instances from your Auto Scaling group" and "Detach or
attach instances".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.model.autoscaling.state import Activity, Group, Member, TemplateRef
from sandbox.model.errors import validation_error
from sandbox.model.instances import Instance

if TYPE_CHECKING:
    from sandbox.model.account import Account


class Standby:
    """Moves instances in and out of service, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def enter(self, members: list[Member], *, decrement: bool) -> list[Activity]:
        """Put instances in service into standby.

        :raises ServiceError: ``ValidationError`` if one is not in service, or desired would fall below the
            minimum.
        """
        return self._leave(members, decrement=decrement, passing="EnteringStandby", then="Standby")

    def detach(self, members: list[Member], *, decrement: bool) -> list[Activity]:
        """Take instances out of their group; they run on.

        :raises ServiceError: ``ValidationError`` if one is not in service, or desired would fall below the
            minimum.
        """
        return self._leave(members, decrement=decrement, passing="Detaching", then="Detached")

    def exit(self, members: list[Member]) -> list[Activity]:
        """Put instances back into service; desired grows by as many.

        :raises ServiceError: ``ValidationError`` if one is not in standby or the maximum would be exceeded.
        """
        group = members[0].group
        for member in members:
            if member.state != "Standby":
                raise validation_error(f"The instance {member.instance_id} is not in Standby.")
        if group.desired + len(members) > group.max_size:
            raise validation_error(
                f"New SetDesiredCapacity value {group.desired + len(members)} is above max value "
                f"{group.max_size} for the AutoScalingGroup."
            )
        before, group.desired = group.desired, group.desired + len(members)
        made = []
        for member in members:
            text = (
                f"instance {member.instance_id} was moved out of standby in response to a user request, "
                f"increasing the capacity from {before} to {group.desired}."
            )
            made.append(self._activity(member, "Moving EC2 instance out of Standby", text))
            member.state = "Pending"
            self._account.groups.launches.into_service(member)
        return made

    def attach(self, group: Group, instances: list[Instance]) -> None:
        """Put running instances into a group; desired grows by as many.

        :raises ServiceError: ``ValidationError`` if one does not fit or the maximum would be exceeded.
        """
        for instance in instances:
            if instance.state != "running" or self._account.groups.member(instance.instance_id) is not None:
                raise validation_error(
                    f"Instance {instance.instance_id} is not running or is in a group already."
                )
            if instance.spec.availability_zone not in group.zones:
                raise validation_error(f"Instance {instance.instance_id} is in none of the group's zones.")
        if group.desired + len(instances) > group.max_size:
            raise validation_error("Attaching would exceed the group's max size constraint.")
        group.desired += len(instances)
        for instance in instances:
            spec = instance.spec
            template = None
            if spec.launch_template_id and spec.launch_template_version:
                template = TemplateRef(
                    template_id=spec.launch_template_id,
                    name=spec.launch_template_name or "",
                    version=spec.launch_template_version,
                )
            member = Member(
                instance_id=instance.instance_id,
                group=group,
                zone=spec.availability_zone,
                subnet_id=spec.subnet_id,
                instance_type=spec.instance_type,
                image_id=spec.image_id,
                template=template,
                launched=instance.launch_time,
            )
            self._account.groups.add_member(member)
            text = f"an instance was attached in response to a user request: {instance.instance_id}"
            self._activity(member, "Attaching an existing EC2 instance", text)
            self._account.groups.launches.into_service(member)

    def _leave(self, members: list[Member], *, decrement: bool, passing: str, then: str) -> list[Activity]:
        group = members[0].group
        for member in members:
            if member.state != "InService":
                raise validation_error(f"The instance {member.instance_id} is not in InService.")
        if decrement:
            self._account.groups.check_decrement(group, len(members))
            group.desired -= len(members)
        made = []
        for member in members:
            verb = "moved to standby" if then == "Standby" else "detached"
            text = f"instance {member.instance_id} was {verb} in response to a user request."
            title = "Moving EC2 instance to Standby" if then == "Standby" else "Detaching EC2 instance"
            made.append(self._activity(member, title, text))
            member.state = passing
            self._account.groups.traffic.leave(member, self._arrival(member, then))
        self._account.groups.capacity.wake(group, asked=True)
        return made

    def _arrival(self, member: Member, state: str) -> Callable[[], None]:
        def arrived() -> None:
            member.state = state
            self._account.groups.activities.end(member.activity, "Successful")
            if state == "Detached":
                self._account.groups.remove_member(member)

        return arrived

    def _activity(self, member: Member, title: str, text: str) -> Activity:
        activities = self._account.groups.activities
        member.activity = activities.begin(
            member.group,
            f"{title}: {member.instance_id}",
            activities.sentence(text),
            zone=member.zone,
            subnet_id=member.subnet_id,
        )
        return member.activity
