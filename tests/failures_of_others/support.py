"""One fleet on the model of Auto Scaling in this process, on a virtual clock, and every call that is made.

All that these tests take from core and from other tests comes through here.
"""

from __future__ import annotations

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
from sandbox.direct import Call, DirectAccount
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.layers.test_bakery import world as layers
from tests.core.rollout.drains import support as drains
from tests.core.rollout.drains import test_terminations as outside
from tests.core.rollout.harness import (
    BUCKET,
    CAPACITY_TIMEOUT,
    DOCUMENT,
    Wire,
    World,
    direct,
    ledger,
    receipt,
    serve,
)
from tests.core.rollout.preflight import test_preflight as preflights
from tests.core.rollout.rollback import test_rollback as rollbacks
from tests.fleets import put_fleet

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

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
RUNS_AWAY = 200
"""No test here has reason to want so many instances."""
CHANGES = ("Create", "Delete", "Update", "Put", "Set", "Suspend", "Resume", "Terminate", "Complete", "Send")
"""How names of calls begin that change something."""


class KilledError(BaseException):
    """The process is dead: no ``except`` of its own may catch this."""


@dataclass
class PeerWire(Wire):
    """Every call that a run makes, with any of which its process may die.

    :ivar kill: tells of a call that was just done whether its process dies with it.
    :ivar highest: the highest desired capacity that was ever seen.
    """

    kill: Callable[[Call], bool] = lambda _call: False
    highest: int = 0

    def around(self, call: Call, perform: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Note a call and perform it, and look what it led to."""
        answer = super().around(call, perform)
        self.highest = max(self.highest, self.aws.account.groups.get("web").desired)
        assert self.highest <= RUNS_AWAY, "desired capacity is raised again and again"
        if self.kill(call):
            raise KilledError(call.operation)
        return answer


@dataclass
class Peer(World):
    """The fleet ``web`` that serves version 1, and a run's view of it."""

    aws: DirectAccount
    wire: PeerWire = field(kw_only=True)

    def release(self, image_id: str | None = None, **behaviour: Any) -> str:
        """Add a version, the newest and the default, and point the group at it, as Terraform's apply does."""
        image_id = image_id or f"ami-{len(self.aws.templates.numbers(self.made.template_id)) + 1:017x}"
        if behaviour:
            self.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, **behaviour)
        number = self.add_version(image_id)
        self.update(LaunchTemplate={"LaunchTemplateId": self.made.template_id, "Version": number})
        rollbacks.applied(self, image_id)
        return image_id

    def add_version(self, image_id: str) -> str:
        """Add a version that nothing launches from but ``$Latest`` and ``$Default``."""
        self.aws.ec2.image_tags.setdefault(image_id, {})
        data = {"ImageId": image_id, "InstanceType": "t3.micro"}
        number = self.aws.templates.put(self.made.template_id, data, name="web")
        self.aws.templates.defaults[self.made.template_id] = int(number)
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
        return ledger(self.aws, run, self.wire.client("s3"))

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
    aws = direct(seed)
    sizes = {"MinSize": size if minimum is None else minimum, "DesiredCapacity": size}
    made = put_fleet(
        aws,
        image_id=f"ami-{1:017x}",
        size=size,
        maximum=maximum,
        version=version,
        heartbeat_seconds=heartbeat_seconds,
        default_result=default_result,
        group={**sizes, "HealthCheckType": health},
    )
    wire = PeerWire(aws)
    s3 = wire.client("s3")
    found = Peer(aws, made, Clients(wire.client), ledger(aws, "run-1", s3), size, waves=waves, wire=wire)
    serve(found)
    output = FleetOutput(
        autoscaling_group="web",
        launch_template_id=made.template_id,
        termination_hook=made.hook,
        drain_document=DOCUMENT,
    )
    settings = {"web": config.Fleet(waves=[int(one) if one.isdigit() else one for one in waves])}
    record_fleets(found.clients, found.ledger, {"web": output}, settings)
    wire.asked.clear()
    wire.made.clear()
    return found
