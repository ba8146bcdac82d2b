"""Random histories: whatever is called and whatever breaks, the model stays consistent and settles."""

from __future__ import annotations

import contextlib
import random

import pytest

from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError
from sandbox.virtual import Behaviour

PROCESSES = ["AZRebalance", "Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer"]


class History:
    """Acts on a world at random."""

    def __init__(self, world, seed):
        self.world = world
        self.random = random.Random(seed)
        self.steps = [
            self.resize,
            self.desired,
            self.publish,
            self.terminate,
            self.crash,
            self.lose,
            self.complete,
            self.protect,
            self.processes,
            self.standby,
            self.zones,
            self.refuse_launches,
            self.target_groups,
            self.unhealthy,
        ]

    def run(self, number):
        for _ in range(number):
            step = self.random.choice(self.steps)
            with contextlib.suppress(ServiceError):  # a refusal is an answer; anything else fails the test
                step()
            self.world.advance(self.random.choice([0, 0.5, 1, 3, 10, 40]))
            self.check()

    def settle(self):
        world = self.world
        world.on_web("ResumeProcesses")
        world.hypervisor.instances.clear()
        world.records.refusals.clear()
        world.advance(600)
        for instance_id in world.ids("Standby"):
            world.terminate(instance_id, decrement=False)
        for instance_id in world.ids("Terminating:Retained"):
            world.terminate(instance_id, decrement=False)
        everyone = world.ids("InService")
        if everyone:
            world.on_web("SetInstanceProtection", InstanceIds=everyone, ProtectedFromScaleIn=False)
        world.update(
            NewInstancesProtectedFromScaleIn=False,
            InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "terminate"}},
        )
        world.advance(3000)
        self.check()

    def any(self, state=None):
        ids = self.world.ids(state)
        return self.random.choice(ids) if ids else "i-0"

    def check(self):
        world, group = self.world, self.world.group()
        assert group["MinSize"] <= group["DesiredCapacity"] <= group["MaxSize"]
        assert len({each["InstanceId"] for each in group["Instances"]}) == len(group["Instances"])
        for each in group["Instances"]:
            member = world.account.groups.member(each["InstanceId"])
            assert bool(member.actions) == each["LifecycleState"].endswith(":Wait")
            if each["LifecycleState"] in {"Terminating:Wait", "Terminating:Retained"}:
                for target in world.account.targets.of_instance(each["InstanceId"]):
                    assert target.target_group_arn not in group["TargetGroupARNs"]
        for instance in world.account.instances:
            if world.account.groups.member(instance.instance_id) is None:
                assert instance.state in {"shutting-down", "terminated"}

    def resize(self):
        low = self.random.randint(0, 6)
        self.world.update(MinSize=low, MaxSize=low + self.random.randint(0, 6))

    def desired(self):
        self.world.on_web("SetDesiredCapacity", DesiredCapacity=self.random.randint(0, 10))

    def publish(self):
        self.world.publish(f"ami-{self.random.randint(1, 99)}")
        self.world.update(NewInstancesProtectedFromScaleIn=self.random.random() < 0.5)

    def terminate(self):
        self.world.terminate(self.any(), decrement=self.random.random() < 0.5)

    def crash(self):
        instance = self.world.account.instances.find(self.any("InService"))
        if instance is not None and instance.state == "running":
            self.world.hypervisor.crash(instance.instance_id)

    def lose(self):
        instance_id = self.any()
        if self.world.account.instances.find(instance_id) is not None:
            self.world.account.instances.terminate(instance_id, "Client.UserInitiatedShutdown")

    def complete(self):
        self.world.complete(self.any("Terminating:Wait"), self.random.choice(["CONTINUE", "ABANDON"]))

    def protect(self):
        flag = self.random.random() < 0.5
        self.world.on_web("SetInstanceProtection", InstanceIds=[self.any()], ProtectedFromScaleIn=flag)

    def processes(self):
        action = self.random.choice(["SuspendProcesses", "ResumeProcesses", "ResumeProcesses"])
        self.world.on_web(action, ScalingProcesses=[self.random.choice(PROCESSES)])

    def standby(self):
        if self.random.random() < 0.5:
            decrement = self.random.random() < 0.5
            ids = [self.any("InService")]
            self.world.on_web("EnterStandby", InstanceIds=ids, ShouldDecrementDesiredCapacity=decrement)
        else:
            self.world.on_web("ExitStandby", InstanceIds=[self.any("Standby")])

    def zones(self):
        chosen = self.random.sample(["subnet-a", "subnet-b", "subnet-c"], self.random.randint(1, 3))
        self.world.update(VPCZoneIdentifier=",".join(chosen))

    def refuse_launches(self):
        code = self.random.choice(["InsufficientInstanceCapacity", "InvalidAMIID.NotFound"])
        self.world.records.refusals = [LaunchError(code, "No.")] * self.random.randint(1, 3)

    def target_groups(self):
        action = self.random.choice(["AttachLoadBalancerTargetGroups", "DetachLoadBalancerTargetGroups"])
        self.world.on_web(action, TargetGroupARNs=[self.random.choice(["tg-1", "tg-2"])])

    def unhealthy(self):
        if self.random.random() < 0.5:
            self.world.hypervisor.instances[self.any("InService")] = Behaviour(boot_failure="no")
        self.world.call("SetInstanceHealth", InstanceId=self.any("InService"), HealthStatus="Unhealthy")


@pytest.mark.parametrize("seed", range(8))
def test_the_model_stays_consistent_and_settles(make_world, seed):
    world = make_world(seed)
    for arn in ("tg-1", "tg-2"):
        world.target_group(arn, deregistration_delay_seconds=15.0)
    world.create(
        desired=3,
        MaxSize=8,
        TargetGroupARNs=["tg-1"],
        HealthCheckType="ELB",
        HealthCheckGracePeriod=30,
        InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}},
    )
    world.hook(HeartbeatTimeout=60)
    history = History(world, seed)
    history.run(80)
    history.settle()
    group = world.group()
    assert world.states() == ["InService"] * group["DesiredCapacity"]
    counts = [
        sum(each["AvailabilityZone"] == zone for each in group["Instances"])
        for zone in group["AvailabilityZones"]
    ]
    assert sum(counts) == group["DesiredCapacity"]
    assert max(counts) - min(counts) <= 1
    for arn in group["TargetGroupARNs"]:
        states = {target.state for target in world.account.targets.health(arn)}
        assert states <= {"healthy"}
