"""One fleet on the model of Auto Scaling in this process, on a virtual clock, and every call that is made.

All that these tests take from core and from other tests comes through here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bakeroll.core import config
from bakeroll.core.aws import Clients
from bakeroll.core.errors import CapacityError, FleetError, GateError, RollbackError
from bakeroll.core.gate_settings import Gate as GateSettings
from bakeroll.core.layers import images, left_overs
from bakeroll.core.rollout.begin import Begin, close, record_fleets, unsettled
from bakeroll.core.rollout.gates import Gate
from bakeroll.core.rollout.journal import Ledger
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.steps import Act, Wait
from bakeroll.core.terraform import FleetOutput
from sandbox.direct import Call, DirectAccount, direct_account
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.layers.test_bakery import world as layers
from tests.core.rollout.drains import support as drains
from tests.core.rollout.drains import test_terminations as outside
from tests.core.rollout.harness import BUCKET, CAPACITY_TIMEOUT, CONTENT, DOCUMENT, World, receipt
from tests.core.rollout.preflight import test_preflight as preflights
from tests.core.rollout.rollback import test_rollback as rollbacks
from tests.fleets import Fleet

__all__ = [
    "BUCKET",
    "DOCUMENT",
    "Act",
    "AwaitCapacity",
    "CapacityError",
    "FleetError",
    "Gate",
    "GateError",
    "KilledError",
    "Peer",
    "Retire",
    "RollbackError",
    "ScaleOut",
    "Settle",
    "Wait",
    "close",
    "drains",
    "images",
    "layers",
    "left_overs",
    "outside",
    "peer",
    "preflights",
    "receipt",
    "rollbacks",
    "unsettled",
]

TEMPLATE, HOOK = "lt-0123456789abcdef0", "drain"
TARGETS = "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/web/1"
SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
RUNS_AWAY = 200
"""No test here has reason to want so many instances."""
CHANGES = ("Create", "Delete", "Update", "Put", "Set", "Suspend", "Resume", "Terminate", "Complete", "Send")
"""How names of calls begin that change something."""


class KilledError(BaseException):
    """The process is dead: no ``except`` of its own may catch this."""


@dataclass
class Wire:
    """Every call that a run makes.

    :ivar made: those that were done.
    :ivar kill: tells of a call that was just done whether its process dies with it.
    :ivar highest: the highest desired capacity that was ever seen.
    """

    aws: DirectAccount
    made: list[Call] = field(default_factory=list)
    kill: Callable[[Call], bool] = lambda _call: False
    highest: int = 0

    def client(self, service: str) -> Any:
        """Return a run's client."""
        return self.aws.client(service, "bakeroll", around=self._around)

    def _around(self, call: Call, perform: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        answer = perform()
        self.made.append(call)
        self.highest = max(self.highest, self.aws.account.groups.get("web").desired)
        assert self.highest <= RUNS_AWAY, "desired capacity is raised again and again"
        if self.kill(call):
            raise KilledError(call.operation)
        return answer


@dataclass
class Peer(World):
    """The fleet ``web`` that serves version 1, and a run's view of it."""

    wire: Wire = field(kw_only=True)

    def release(self, image_id: str | None = None, **behaviour: Any) -> str:
        """Add a version, the newest and the default, and point the group at it, as Terraform's apply does."""
        image_id = image_id or f"ami-{len(self.aws.templates.numbers(TEMPLATE)) + 1:017x}"
        if behaviour:
            self.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, **behaviour)
        number = self.add_version(image_id)
        self.update(LaunchTemplate={"LaunchTemplateId": TEMPLATE, "Version": number})
        rollbacks.applied(self, image_id)
        return image_id

    def add_version(self, image_id: str) -> str:
        """Add a version that nothing launches from but ``$Latest`` and ``$Default``."""
        self.aws.ec2.image_tags.setdefault(image_id, {})
        data = {"ImageId": image_id, "InstanceType": "t3.micro"}
        number = self.aws.templates.put(TEMPLATE, data, name="web")
        self.aws.templates.defaults[TEMPLATE] = int(number)
        return number

    def update(self, **changes: Any) -> None:
        """Change the group, as a person or another tool does."""
        self.others("autoscaling").update_auto_scaling_group(AutoScalingGroupName="web", **changes)

    def scale_to(self, desired: int) -> None:
        """Set desired capacity, as a policy does."""
        self.others("autoscaling").set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=desired)

    def others(self, service: str) -> Any:
        """Return a client that is no run's."""
        return self.aws.client(service, "others")

    def once(self, text: str, act: Callable[[], object]) -> None:
        """Do something once, after a line of the log says it."""
        left = [act]

        def on_pass(_: World) -> None:
            if left and any(text in line for line in self.log):
                left.pop()()

        self.on_pass = on_pass

    def dies_at(self, operation: str, times: int = 1) -> None:
        """Kill the run's process with a call that it has just made, so many times."""
        left = [times]

        def kill(call: Call) -> bool:
            if call.operation != operation or not left[0]:
                return False
            left[0] -= 1
            return True

        self.wire.kill = kill

    def next_run(self, number: int = 2) -> Ledger:
        """Begin another run once the lease of the one before has lapsed; returns its journal."""
        self.settle(100)
        heir = self.journal_of(f"run-{number}")
        self.run(Begin(heir, "production", alive=lambda _owner: False))
        return heir

    def journal_of(self, run: str) -> Ledger:
        """Return the journal as a run sees it."""
        return Ledger(self.wire.client("s3"), BUCKET, "production", f"dag/{run}", now=self.aws.clock.now)

    def gate(self, wave: int = 1, **asked: Any) -> Gate:
        """Make a gate that asks for this."""
        settings = GateSettings.model_validate(asked)
        return Gate(self.clients, self.ledger, "web", wave=wave, timeout=CAPACITY_TIMEOUT, gate=settings)

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of each call of an operation so far."""
        return [call.params for call in self.wire.made if call.operation == operation]

    def changes(self) -> Counter[str]:
        """Count the calls so far that change something in AWS but for the journal."""
        return Counter(
            call.operation
            for call in self.wire.made
            if call.operation.startswith(CHANGES) and call.service != "s3"
        )

    def terminated(self) -> list[str]:
        """Return the ids of the instances that we terminated, in order."""
        return [call["InstanceId"] for call in self.calls("TerminateInstanceInAutoScalingGroup")]

    def ids(self) -> set[str]:
        """Return the ids of the instances that count."""
        return {one.instance_id for one in self.picture().counted}

    def group(self) -> dict[str, Any]:
        """Describe the group, as others see it."""
        found = self.others("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["web"])
        described: dict[str, Any] = found["AutoScalingGroups"][0]
        return described

    def sizes(self) -> tuple[int, int, int]:
        """Return minimum, desired capacity and maximum of the group."""
        group = self.group()
        return group["MinSize"], group["DesiredCapacity"], group["MaxSize"]

    def is_all_of(self, version: str, size: int) -> None:
        """See that so many instances serve, all of one version, and that no old one is left."""
        after = self.picture()
        launched = Counter(
            one["LaunchTemplate"]["Version"]
            for one in self.group()["Instances"]
            if one["LifecycleState"] == "InService"
        )
        assert (launched, after.ready_count, after.template_version) == ({version: size}, size, version)


def peer(
    size: int,
    *,
    minimum: int | None = None,
    maximum: int | None = None,
    waves: tuple[str, ...] = ("100%",),
    seed: int = 1,
    health: str = "ELB",
    version: str = "1",
    heartbeat_seconds: int = 300,
    default_result: str = "CONTINUE",
) -> Peer:
    """Make a fleet at version 1 that serves, and open a journal for ``run-1``, as ``begin`` does.

    :param version: what the group launches from: a number, ``$Latest`` or ``$Default``.
    """
    aws = direct_account(seed)
    aws.hypervisor.default.answer = receipt
    aws.objects.create_bucket({"Bucket": BUCKET})
    aws.documents.contents[DOCUMENT] = json.dumps(CONTENT)
    aws.templates.put(TEMPLATE, {"ImageId": f"ami-{1:017x}", "InstanceType": "t3.micro"}, name="web")
    aws.target_groups.put(TARGETS, interval_seconds=5, healthy_threshold=2, deregistration_delay_seconds=10)
    aws.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchTemplate={"LaunchTemplateId": TEMPLATE, "Version": version},
        MinSize=size if minimum is None else minimum,
        MaxSize=size if maximum is None else maximum,
        DesiredCapacity=size,
        VPCZoneIdentifier="subnet-a,subnet-c",
        TargetGroupARNs=[TARGETS],
        HealthCheckType=health,
        HealthCheckGracePeriod=60,
        LifecycleHookSpecificationList=[
            {
                "LifecycleHookName": HOOK,
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                "HeartbeatTimeout": heartbeat_seconds,
                "DefaultResult": default_result,
            }
        ],
    )
    wire = Wire(aws)
    made = Fleet(
        group="web",
        template_id=TEMPLATE,
        image_id=f"ami-{1:017x}",
        target_group_arn=TARGETS,
        listener_arn="",
        load_balancer_arn="",
        hook=HOOK,
        subnet_ids=("subnet-a", "subnet-c"),
    )
    found = Peer(
        aws=aws,
        made=made,
        clients=Clients(wire.client),
        ledger=None,
        size=size,
        floor=0,
        waves=waves,
        wire=wire,
    )
    found.ledger = found.journal_of("run-1")
    found.settle()
    found.floor = found.healthy_targets()
    assert found.floor == size
    found.ledger.open()
    output = FleetOutput(
        autoscaling_group="web", launch_template_id=TEMPLATE, termination_hook=HOOK, drain_document=DOCUMENT
    )
    settings = {"web": config.Fleet(waves=[int(one) if one.isdigit() else one for one in waves])}
    record_fleets(found.clients, found.ledger, {"web": output}, settings)
    wire.made.clear()
    return found
