"""Targets of ELBv2 target groups: their registration, health checks and draining.

Sources: Elastic Load Balancing user guide for Application Load Balancers, "Target group health checks"
(states, reasons, the first check suffices for a new target) and "Edit target group attributes"
(deregistration delay).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sandbox.clock import Handle
from sandbox.model.errors import ServiceError
from sandbox.model.instances import Instance
from sandbox.model.ports import CheckResult, HealthCheck, TargetGroupSpec

if TYPE_CHECKING:
    from sandbox.model.account import Account

Key = tuple[str, int]
"""Instance id and port."""


@dataclass(kw_only=True)
class Target:
    """One registered (or draining) target, as DescribeTargetHealth shows it."""

    target_group_arn: str
    instance_id: str
    port: int
    state: str = "gone"
    """initial, healthy, unhealthy, unused or draining; gone before and after."""
    reason: str = ""
    description: str = ""
    successes: int = 0
    failures: int = 0
    round: int = 0
    """Counts registrations, so that a late answer of an earlier one's check is not believed."""
    timer: Handle | None = field(default=None, repr=False)
    asks: tuple[HealthCheck, HealthCheck] | None = field(default=None, repr=False)
    """Its group's check, and that same check at its own port."""

    @property
    def key(self) -> Key:
        """What tells it from the other targets of its group."""
        return self.instance_id, self.port


Listener = Callable[[Target, str], None]
"""Called with a target after a change and with the state before it; ``gone`` is that of a removed one."""

UNUSED = (
    "unused",
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
DRAINING = ("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
CHECKING = ("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
REGISTERING = ("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
HEALTHY = ("healthy", "", "")


class Targets:
    """The targets of all target groups of the account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._groups: dict[str, dict[Key, Target]] = {}
        self._by_instance: dict[str, dict[tuple[str, int], Target]] = {}
        self._listeners: list[Listener] = []
        account.instances.listen(self._instance_changed)

    def listen(self, listener: Listener) -> None:
        """Tell somebody of every change of a target's state from now on."""
        self._listeners.append(listener)

    def health(self, arn: str) -> list[Target]:
        """Return a target group's targets, the draining ones included."""
        return list(self._groups.get(arn, {}).values())

    def find(self, arn: str, instance_id: str, port: int | None = None) -> Target | None:
        """Return one target, None if it is not registered; the port defaults to the target group's."""
        spec_port = self._spec(arn).port if port is None else port
        return self._groups.get(arn, {}).get((instance_id, spec_port))

    def of_instance(self, instance_id: str) -> Iterator[Target]:
        """Return the targets that an instance is, in all target groups."""
        return iter(list(self._by_instance.get(instance_id, {}).values()))

    def register(self, arn: str, instance_id: str, port: int | None = None) -> None:
        """Register an instance, again if it is draining; harmless if it is registered.

        :raises ServiceError: ``TargetGroupNotFound``, or ``InvalidTarget`` unless the instance runs.
        """
        spec = self._spec(arn)
        instance = self._account.instances.find(instance_id)
        if instance is None or instance.state not in {"pending", "running"}:
            raise ServiceError(
                "InvalidTarget", f"The following targets are not in a running state: '{instance_id}'"
            )
        key = (instance_id, spec.port if port is None else port)
        targets = self._groups.setdefault(arn, {})
        target = targets.get(key)
        if target is not None and target.state != "draining":
            return
        if target is None:
            target = Target(target_group_arn=arn, instance_id=instance_id, port=key[1])
            targets[key] = target
            self._by_instance.setdefault(instance_id, {})[arn, key[1]] = target
        target.round += 1
        target.successes = target.failures = 0
        self._set(target, *(REGISTERING if spec.in_use else UNUSED))
        self._later(target, self._account.times.registration_seconds, self._begin_checks)

    def deregister(self, arn: str, instance_id: str, port: int | None = None) -> None:
        """Begin to drain a target; harmless if it is not registered or drains already.

        It is ``draining`` for the whole deregistration delay, also when idle.

        :raises ServiceError: ``TargetGroupNotFound``.
        """
        spec = self._spec(arn)
        target = self._groups.get(arn, {}).get((instance_id, spec.port if port is None else port))
        if target is None or target.state == "draining":
            return
        if target.state == "unused":
            self._remove(target)
            return
        self._set(target, *DRAINING)
        self._later(target, spec.deregistration_delay_seconds, self._remove)

    def forget(self, arn: str) -> None:
        """Drop a deleted target group's targets."""
        for target in list(self._groups.get(arn, {}).values()):
            self._remove(target)
        self._groups.pop(arn, None)

    def refresh(self, arn: str) -> None:
        """Look again at whether a target group is in use, after a listener or rule changed."""
        spec = self._spec(arn)
        for target in self.health(arn):
            unused = target.reason == UNUSED[1]
            if spec.in_use and unused:
                target.round += 1
                self._set(target, *REGISTERING)
                self._later(target, self._account.times.registration_seconds, self._begin_checks)
            elif not spec.in_use and target.state in {"initial", "healthy", "unhealthy"}:
                self._stop_checks(target)
                self._set(target, *UNUSED)

    def _begin_checks(self, target: Target) -> None:
        if target.state == "initial":
            self._set(target, *CHECKING)
        self._check(target)

    def _check(self, target: Target) -> None:
        spec = self._spec(target.target_group_arn)
        if target.state not in {"initial", "healthy", "unhealthy"}:
            return
        self._later(target, spec.interval_seconds, self._check)
        number = target.round

        def done(result: CheckResult) -> None:
            with self._account.lock:
                if target.round == number and target.state in {"initial", "healthy", "unhealthy"}:
                    self._judge(target, spec, result)

        if target.asks is None or target.asks[0] is not spec.check:
            at_port = spec.check if spec.check.port else replace(spec.check, port=target.port)
            target.asks = spec.check, at_port
        self._account.hypervisor.check_target(target.instance_id, target.asks[1], done)

    def _judge(self, target: Target, spec: TargetGroupSpec, result: CheckResult) -> None:
        if result.healthy:
            target.successes, target.failures = target.successes + 1, 0
            # A newly registered target serves after its first passed check, whatever the threshold.
            needed = spec.healthy_threshold if target.state == "unhealthy" else 1
            if target.state != "healthy" and target.successes >= needed:
                self._set(target, *HEALTHY)
        else:
            target.failures, target.successes = target.failures + 1, 0
            if target.failures >= spec.unhealthy_threshold:
                self._set(target, "unhealthy", result.reason, result.description)

    def _instance_changed(self, instance: Instance, _before: str) -> None:
        for target in self.of_instance(instance.instance_id):
            if instance.state == "terminated" and target.state != "draining":
                self._remove(target)
            elif instance.state in {"stopping", "stopped", "shutting-down"} and target.state != "draining":
                self._stop_checks(target)
                text = f"Target is in the {instance.state} state"
                self._set(target, "unused", "Target.InvalidState", text)
            elif instance.state == "running" and target.reason == "Target.InvalidState":
                target.round += 1
                self._set(target, *REGISTERING)
                self._later(target, self._account.times.registration_seconds, self._begin_checks)

    def _set(self, target: Target, state: str, reason: str, description: str) -> None:
        before = target.state
        if (before, target.reason, target.description) == (state, reason, description):
            return
        target.state, target.reason, target.description = state, reason, description
        for listener in self._listeners:
            listener(target, before)

    def _remove(self, target: Target) -> None:
        self._stop_checks(target)
        self._groups.get(target.target_group_arn, {}).pop(target.key, None)
        of_instance = self._by_instance.get(target.instance_id, {})
        of_instance.pop((target.target_group_arn, target.port), None)
        if not of_instance:
            self._by_instance.pop(target.instance_id, None)
        self._set(target, "gone", "Target.NotRegistered", "Target is not registered to the target group")

    def _stop_checks(self, target: Target) -> None:
        target.round += 1
        if target.timer is not None:
            target.timer.cancel()
            target.timer = None

    def _later(self, target: Target, seconds: float, action: Callable[[Target], None]) -> None:
        if target.timer is not None:
            target.timer.cancel()
        target.timer = self._account.clock.call_later(seconds, lambda: action(target))

    def _spec(self, arn: str) -> TargetGroupSpec:
        try:
            return self._account.target_groups.spec(arn)
        except KeyError:
            raise ServiceError("TargetGroupNotFound", f"Target groups '{arn}' not found") from None
