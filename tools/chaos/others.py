"""What everybody and everything else does to a fleet in the middle of a rollout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from types import MappingProxyType
from typing import Any

from botocore.exceptions import ClientError

from sandbox.model.ports import LaunchError
from tools.chaos.truth import Expected, Truth
from tools.chaos.world import World

SHORTAGE = "We currently do not have sufficient t3.micro capacity in the Availability Zone you requested."


class Others:
    """Draws disturbances, and keeps account of how the group would look without the rollout.

    :param people: what people do to runs, by kind.
    """

    def __init__(
        self, world: World, people: Mapping[str, Callable[[], object]] = MappingProxyType({})
    ) -> None:
        self._world = world
        self._chance = Random(f"others {world.plan.seed}")  # noqa: S311  # repeatable, not secret
        self._rate, self._kinds = world.plan.disturb, world.plan.kinds
        self._truth: Truth = next(iter(world.truths.values()))
        self._autoscaling = world.plain_client("autoscaling")
        self._does: dict[str, Callable[[], object]] = {
            "scale_out": lambda: self._scale(+1),
            "scale_in": lambda: self._scale(-1),
            "set_minimum": self._set_minimum,
            "set_maximum": self._set_maximum,
            "suspend_other": self._suspend_other,
            "protect_old": self._protect_old,
            "crash": self._crash,
            "terminate_directly": self._terminate_directly,
            "mark_unhealthy": self._mark_unhealthy,
            "agent_gone": self._agent_gone,
            "drain_fails": self._drain_fails,
            "refuse_launch": self._refuse_launch,
            "zone_full": self._zone_full,
            **people,
        }

    @property
    def _expected(self) -> Expected:
        return self._truth.expected

    def maybe(self) -> None:
        """Do something now and then."""
        if self._chance.random() >= self._rate:
            return
        kind = self._chance.choice(self._kinds)
        self._truth = self._chance.choice(list(self._world.truths.values()))
        try:
            self._does[kind]()
        except ClientError as refusal:
            self._world.say(f"others: {kind} was refused: {refusal.response['Error']['Message']}")

    def _change(self, what: str, call: Callable[[], Any], meant: Callable[[int], int]) -> None:
        """Do what may change desired capacity, and note what was meant and what came of it."""
        group = self._truth.group
        before = group.desired
        call()
        expected = self._expected
        came = group.desired - before
        low, high = expected.low, expected.high
        expected.low = max(0, min(low + came, meant(low)))
        # What is to be taken away meanwhile may be kept until the rollout is over: nobody scales in below it.
        expected.high = max(high, high + came, meant(high))
        self._world.say(f"others: {self._truth.name}: {what}: desired {before} -> {group.desired}")

    def _scale(self, sign: int) -> None:
        group = self._truth.group
        by = sign * self._chance.choice([1, 1, 2, max(1, group.desired // 4)])
        wanted = min(group.max_size, max(group.min_size, group.desired + by))
        expected = self._expected

        def meant(live: int) -> int:
            return min(max(expected.maximum), max(min(expected.minimum), live + by))

        self._change(
            f"a policy scales by {by}",
            lambda: self._autoscaling.set_desired_capacity(
                AutoScalingGroupName=self._truth.name, DesiredCapacity=wanted
            ),
            meant,
        )

    def _set_minimum(self) -> None:
        group, expected = self._truth.group, self._expected
        wanted = self._chance.randint(0, min(group.max_size, expected.low + 2))
        if wanted in self._known_sizes("minimum", "previous") or wanted == group.min_size:
            return  # nobody could tell it from ours
        self._change(
            f"a person sets MinSize {wanted}",
            lambda: self._autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=self._truth.name, MinSize=wanted
            ),
            lambda live: max(live, wanted),
        )
        expected.minimum = {wanted}

    def _set_maximum(self) -> None:
        group, expected = self._truth.group, self._expected
        wanted = group.desired + self._chance.randint(0, 10)
        if wanted in self._known_sizes("maximum", "maximum_before") or wanted == group.max_size:
            return
        self._change(
            f"a person sets MaxSize {wanted}",
            lambda: self._autoscaling.update_auto_scaling_group(
                AutoScalingGroupName=self._truth.name, MaxSize=wanted
            ),
            lambda live: live,
        )
        expected.maximum = {wanted}

    def _known_sizes(self, *fields: str) -> set[int]:
        journal = self._world.journal
        fleet = (journal or {}).get("fleets", {}).get(self._truth.name, {})
        return {fleet["surge"][field] for field in fields} if fleet.get("surge") else set()

    def _suspend_other(self) -> None:
        self._autoscaling.suspend_processes(
            AutoScalingGroupName=self._truth.name, ScalingProcesses=["ScheduledActions"]
        )
        self._expected.suspended.add("ScheduledActions")
        self._world.say("others: a person suspends ScheduledActions")

    def _protect_old(self) -> None:
        truth = self._truth
        old = sorted(truth.in_service() - truth.current())[:1]
        if old:
            self._autoscaling.set_instance_protection(
                AutoScalingGroupName=self._truth.name, InstanceIds=old, ProtectedFromScaleIn=True
            )
            truth.protected.update(old)
            self._world.say(f"others: a person protects {old[0]}")

    def _victim(self) -> str | None:
        found = sorted(self._truth.in_service())
        return self._chance.choice(found) if found else None

    def _lose(self, what: str, act: Callable[[str], object]) -> None:
        victim = self._victim()
        if victim is None:
            return
        self._world.say(f"others: {victim} {what}")
        act(victim)

    def _crash(self) -> None:
        self._lose("stops by itself", self._world.aws.hypervisor.crash)

    def _terminate_directly(self) -> None:
        ec2 = self._world.plain_client("ec2")
        self._lose("is terminated in EC2", lambda one: ec2.terminate_instances(InstanceIds=[one]))

    def _mark_unhealthy(self) -> None:
        self._lose(
            "is called unhealthy",
            lambda one: self._autoscaling.set_instance_health(
                InstanceId=one, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False
            ),
        )

    def _agent_gone(self) -> None:
        self._change_machine("has no SSM agent any more", agent_online=False)

    def _drain_fails(self) -> None:
        kind = self._chance.choice(["fails", "leaves", "silent"])
        self._change_machine(
            f"will not drain: {kind}",
            answer=lambda instance_id, _script: self._world.drain_answer(instance_id, kind),
        )

    def _change_machine(self, what: str, **changes: Any) -> None:
        hypervisor = self._world.aws.hypervisor
        truth = self._truth
        # Those that are to be drained rather than others.
        members = sorted(set(truth.group.members) - truth.current()) or sorted(truth.group.members)
        if members:
            one = self._chance.choice(members)
            hypervisor.instances[one] = replace(hypervisor.behaviour(one), **changes)
            self._world.say(f"others: {one} {what}")

    def _refuse_launch(self) -> None:
        self._world.aws.records.refusals.append(LaunchError("InsufficientInstanceCapacity", SHORTAGE))
        self._world.say("others: EC2 refuses the next launch")

    def _zone_full(self) -> None:
        zone = f"ap-northeast-1{self._chance.choice('abc')}"
        zones = self._world.aws.records.full_zones
        (zones.discard if zone in zones else zones.add)(zone)
        self._world.say(f"others: {zone} is {'full' if zone in zones else 'free again'}")
