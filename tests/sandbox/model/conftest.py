"""A virtual account, called with botocore's shapes: what goes in and comes out is checked against them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime

import botocore.session
import pytest
from botocore.validate import ParamValidator

from sandbox.clock import VirtualClock
from sandbox.memory import MemoryBus, MemoryRecords, MemorySubnets, MemoryTargetGroups, MemoryTemplates
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.services.autoscaling import ACTIONS
from sandbox.virtual import VirtualHypervisor

MODEL = botocore.session.get_session().get_service_model("autoscaling")
TYPES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "timestamp": datetime,
}


def check_shape(shape, value, where):
    """Walk a shape: no unknown member, no missing required one, every value of its type."""
    if shape.type_name == "structure":
        assert isinstance(value, dict), where
        assert set(value) <= set(shape.members), f"{where}: {set(value) - set(shape.members)}"
        assert set(shape.required_members) <= set(value), (
            f"{where}: {set(shape.required_members) - set(value)}"
        )
        for name, each in value.items():
            check_shape(shape.members[name], each, f"{where}.{name}")
    elif shape.type_name == "map":
        assert isinstance(value, dict), where
        for name, each in value.items():
            check_shape(shape.key, name, where)
            check_shape(shape.value, each, f"{where}.{name}")
    elif shape.type_name == "list":
        assert isinstance(value, list), where
        for number, each in enumerate(value):
            check_shape(shape.member, each, f"{where}[{number}]")
    else:
        assert isinstance(value, TYPES[shape.type_name]), f"{where}: {value!r}"
        if shape.type_name == "integer":
            assert not isinstance(value, bool), where
        assert value in (getattr(shape, "enum", None) or [value]), (
            f"{where}: {value!r} is not in {shape.enum}"
        )


class World:
    """The account and short ways to act on it; group ``web`` from template ``lt-1`` if not said otherwise."""

    def __init__(self, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.hypervisor = VirtualHypervisor(self.clock)
        chance = random.Random(seed)
        self.records = MemoryRecords(chance)
        self.templates = MemoryTemplates()
        self.target_groups = MemoryTargetGroups()
        self.bus = MemoryBus()
        self.account = Account(
            clock=self.clock,
            hypervisor=self.hypervisor,
            records=self.records,
            subnets=MemorySubnets(),
            templates=self.templates,
            target_groups=self.target_groups,
            bus=self.bus,
            random=chance,
        )
        self.publish("ami-1")

    def publish(self, image_id):
        data = {"ImageId": image_id, "InstanceType": "t3.micro"}
        return self.templates.put("lt-1", data, name="web-template")

    def call(self, action, **params):
        operation = MODEL.operation_model(action)
        if operation.input_shape is not None:
            report = ParamValidator().validate(params, operation.input_shape)
            assert not report.has_errors(), report.generate_report()
        with self.account.lock:
            answer = ACTIONS[action](self.account, params)
        if operation.output_shape is None:
            assert answer == {}
        else:
            check_shape(operation.output_shape, answer, action)
        return answer

    def refused(self, action, **params):
        with pytest.raises(ServiceError) as caught:
            self.call(action, **params)
        assert caught.value.http_status == 400
        return caught.value

    def on_web(self, action, **params):
        return self.call(action, AutoScalingGroupName="web", **params)

    def create(self, *, desired=2, settle=True, **params):
        settings = {
            "AutoScalingGroupName": "web",
            "MinSize": 0,
            "MaxSize": 100,
            "DesiredCapacity": desired,
            "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "$Latest"},
            "VPCZoneIdentifier": "subnet-a,subnet-b",
        }
        self.call("CreateAutoScalingGroup", **(settings | params))
        if settle:
            self.until(lambda: self.states() == ["InService"] * desired)
        return self.instances() if settle else []

    def update(self, **params):
        self.on_web("UpdateAutoScalingGroup", **params)

    def hook(self, name="drain", transition="TERMINATING", **params):
        self.on_web(
            "PutLifecycleHook",
            LifecycleHookName=name,
            LifecycleTransition=f"autoscaling:EC2_INSTANCE_{transition}",
            **params,
        )

    def target_group(self, name="tg-1", **changes):
        return self.target_groups.put(name, **changes)

    def group(self):
        return self.call("DescribeAutoScalingGroups", AutoScalingGroupNames=["web"])["AutoScalingGroups"][0]

    def instances(self):
        return self.group()["Instances"]

    def ids(self, state=None):
        return [each["InstanceId"] for each in self.instances() if state in (None, each["LifecycleState"])]

    def states(self):
        return sorted(each["LifecycleState"] for each in self.instances())

    def state(self, instance_id):
        return next(
            (each["LifecycleState"] for each in self.instances() if each["InstanceId"] == instance_id), None
        )

    def activities(self):
        return self.on_web("DescribeScalingActivities")["Activities"]

    def terminate(self, instance_id, *, decrement=True):
        return self.call(
            "TerminateInstanceInAutoScalingGroup",
            InstanceId=instance_id,
            ShouldDecrementDesiredCapacity=decrement,
        )["Activity"]

    def complete(self, instance_id, result, name="drain"):
        self.on_web(
            "CompleteLifecycleAction",
            LifecycleHookName=name,
            InstanceId=instance_id,
            LifecycleActionResult=result,
        )

    def advance(self, seconds):
        self.clock.advance(seconds)

    def until(self, condition: Callable[[], bool], limit=600.0):
        """Advance second by second until something holds; returns the seconds it took."""
        start = self.clock.now()
        while not condition():
            assert self.clock.now() - start < limit, f"not within {limit} s: {self.states()}"
            self.clock.advance(1.0)
        return self.clock.now() - start

    def trace(self, instance_id, end: Callable[[], bool], limit=600.0):
        """Advance until something holds; returns the lifecycle states seen on the way, each once."""
        seen = [self.state(instance_id)]
        start = self.clock.now()
        while not end():
            assert self.clock.now() - start < limit, seen
            self.clock.advance(0.5)
            if self.state(instance_id) != seen[-1]:
                seen.append(self.state(instance_id))
        return seen


@pytest.fixture
def world():
    return World()


@pytest.fixture
def make_world():
    return World
