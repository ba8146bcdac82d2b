"""Launching: Pending, launch hooks, target groups, InService.

Source: Auto Scaling user guide, "Amazon EC2 Auto Scaling instance lifecycle".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.model.autoscaling import activities
from sandbox.model.autoscaling.lifecycle import ABANDON
from sandbox.model.autoscaling.mixed import Override
from sandbox.model.autoscaling.state import COUNTING, LAUNCHING, Group, Member, TemplateRef
from sandbox.model.errors import ServiceError
from sandbox.model.instances import GONE, Instance
from sandbox.model.ports import LaunchError, LaunchSpec

if TYPE_CHECKING:
    from sandbox.model.account import Account

NO_CAPACITY = frozenset({"InsufficientInstanceCapacity", "Unsupported"})
"""Error codes after which Auto Scaling tries another instance type or zone at once."""


class Launches:
    """Launches instances and brings them into service, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        account.instances.listen(self._instance_changed)

    def begin(self, group: Group, zone: str, cause: str, *, warm: bool = False) -> Member:
        """Launch one instance into a zone of a group.

        :param warm: into its warm pool.
        :raises LaunchError: if EC2 refuses.
        """
        template, spec, instance = self._launch(group, zone)
        member = Member(
            instance_id=instance.instance_id,
            group=group,
            zone=zone,
            subnet_id=spec.subnet_id,
            instance_type=spec.instance_type,
            image_id=spec.image_id,
            template=template,
            launched=instance.launch_time,
            protected=group.protect_new,
            spot="InstanceMarketOptions" in spec.data,
            warm=warm,
            state="Warmed:Pending" if warm else "Pending",
        )
        member.activity = self._account.groups.activities.begin(
            group,
            f"Launching a new EC2 instance{' into warm pool' if warm else ''}: {instance.instance_id}",
            cause,
            zone=zone,
            subnet_id=spec.subnet_id,
        )
        self._account.groups.activities.step(member.activity, "PreInService", 30)
        self._account.groups.add_member(member)
        return member

    def into_service(self, member: Member) -> None:
        """Register an instance with the target groups and let it serve."""
        groups = self._account.groups
        try:
            groups.traffic.join(member)
        except ServiceError as refusal:
            groups.terminations.give_up(member, f"Registering the instance failed: {refusal.message}")
            return
        member.state = "InService"
        member.grace_until = self._account.clock.now() + member.group.health_check_grace_seconds
        if member.activity is not None and member.activity.ended is None:
            groups.activities.end(member.activity, "Successful")
            groups.activities.tell(member, activities.LAUNCH)
        member.group.rebalancing.discard(member.instance_id)
        groups.health.arrived(member)
        groups.capacity.wake(member.group)

    def _launch(self, group: Group, zone: str) -> tuple[TemplateRef, LaunchSpec, Instance]:
        """Launch the first of the group's instance types that EC2 has."""
        spot, choices = False, [Override()]
        if group.mixed is not None:
            counting = [member for member in group.members.values() if member.state in COUNTING]
            on_demand = sum(not member.spot for member in counting)
            spot = group.mixed.wants_spot(len(counting) + 1, on_demand)
            choices = group.mixed.choices(spot=spot, random=self._account.random)
        refused: LaunchError | None = None
        for choice in choices:
            try:
                template, spec = self._spec(group, zone, choice, spot=spot)
                return template, spec, self._account.instances.launch(spec)
            except LaunchError as refusal:
                refused = refused or refusal
                if refusal.code not in NO_CAPACITY:
                    raise
        raise refused or LaunchError("ValidationError", "The group has nothing to launch.")

    def _spec(
        self, group: Group, zone: str, choice: Override, *, spot: bool
    ) -> tuple[TemplateRef, LaunchSpec]:
        wanted = choice.template or group.template
        template_id, name, version, data = self._account.templates.resolve(wanted.template_id, wanted.version)
        if spot:
            data = {**data, "InstanceMarketOptions": {"MarketType": "spot"}}
        image_id = str(data.get("ImageId") or "")
        if not image_id:
            raise LaunchError("ValidationError", "You must use a launch template with an AMI ID.")
        subnets = sorted(subnet for subnet, its_zone in group.subnets.items() if its_zone == zone)
        tags = {
            str(tag["Key"]): str(tag.get("Value", ""))
            for specification in data.get("TagSpecifications") or []
            if specification.get("ResourceType") == "instance"
            for tag in specification.get("Tags") or []
        }
        tags |= {key: tag.value for key, tag in group.tags.items() if tag.propagate}
        tags |= {
            "aws:autoscaling:groupName": group.name,
            "aws:ec2launchtemplate:id": template_id,
            "aws:ec2launchtemplate:version": version,
        }
        spec = LaunchSpec(
            image_id=image_id,
            instance_type=choice.instance_type or str(data.get("InstanceType") or "m1.small"),
            availability_zone=zone,
            subnet_id=self._account.random.choice(subnets),
            data=data,
            tags=tags,
            group_name=group.name,
            launch_template_id=template_id,
            launch_template_name=name,
            launch_template_version=version,
        )
        return TemplateRef(template_id=template_id, name=name, version=version), spec

    def _instance_changed(self, instance: Instance, _before: str) -> None:
        member = self._account.groups.member(instance.instance_id)
        if member is None or member.state not in {"Pending", "Pending:Wait", "Pending:Proceed"}:
            return
        if instance.state == "running" and member.state == "Pending":
            self.came_up(member)
        elif instance.state in GONE or instance.state == "stopped":
            self._account.groups.terminations.give_up(
                member,
                "Instance became unhealthy while waiting for instance to be in InService state. "
                f"Termination Reason: {instance.reason or 'Client.UserInitiatedShutdown'}",
            )

    def came_up(self, member: Member) -> None:
        """Hold a pending instance that runs at the launch hooks, then let it serve."""
        groups = self._account.groups

        def completed(result: str) -> None:
            if result == ABANDON:
                groups.terminations.give_up(
                    member,
                    "Instance failed to complete user's Lifecycle Action: Lifecycle Action was abandoned",
                )
            else:
                member.state = "Pending:Proceed"
                self.into_service(member)

        if groups.lifecycle.hold(member, LAUNCHING, completed):
            groups.activities.step(member.activity, "MidLifecycleAction", 60)
        else:
            self.into_service(member)
