"""One AWS account in one region: what there is in it, and the lock that guards it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable

from sandbox.clock import Clock
from sandbox.model.autoscaling.groups import Groups
from sandbox.model.commands import Commands
from sandbox.model.instances import Instances
from sandbox.model.ports import EventBus, Hypervisor, InstanceRecords, LaunchTemplates, Subnets, TargetGroups
from sandbox.model.targets import Targets
from sandbox.model.times import Times


class Account:
    """Everything the sandbox models itself. Read or change it only while holding ``lock``.

    :param random: decides wherever AWS documents no order; seeded, a run can be repeated.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        hypervisor: Hypervisor,
        records: InstanceRecords,
        subnets: Subnets,
        templates: LaunchTemplates,
        target_groups: TargetGroups,
        bus: EventBus,
        region: str = "ap-northeast-1",
        account_id: str = "123456789012",
        random: random.Random,
        times: Times | None = None,
    ) -> None:
        self.clock = clock
        self.lock = clock.lock
        self.hypervisor = hypervisor
        self.records = records
        self.subnets = subnets
        self.templates = templates
        self.target_groups = target_groups
        self.bus = bus
        self.region = region
        self.account_id = account_id
        self.random = random
        self.times = times or Times()
        self.impaired: Callable[[str], bool] = lambda _instance_id: False
        """Tells whether EC2's status checks of an instance fail."""
        self.instances = Instances(self)
        self.targets = Targets(self)
        self.commands = Commands(self)
        self.groups = Groups(self)

    def new_id(self) -> str:
        """Return a fresh UUID, from the account's own randomness."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource of this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"
