"""EC2 instances: pending, running, stopping, stopped, shutting-down, terminated.

Source: EC2 user guide, "Amazon EC2 instance state changes".
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchSpec, MachineSpec

if TYPE_CHECKING:
    from sandbox.model.account import Account

Listener = Callable[["Instance", str], None]
"""Called with an instance after a change and with the state it had before."""

GONE = frozenset({"shutting-down", "terminated"})


@dataclass(kw_only=True)
class Instance:
    """One instance, also after it was terminated."""

    instance_id: str
    private_ip: str
    spec: LaunchSpec
    launch_time: float
    state: str = "pending"
    reason: str = ""
    """Why it is in this state, as DescribeInstances' StateTransitionReason has it."""
    boots: int = 0


class Instances:
    """The account's instances; the hypervisor reports to it (:class:`~sandbox.model.ports.MachineEvents`)."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._by_id: dict[str, Instance] = {}
        self._listeners: list[Listener] = []

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._by_id.values())

    def find(self, instance_id: str) -> Instance | None:
        """Return an instance, None if there never was one with this id."""
        return self._by_id.get(instance_id)

    def get(self, instance_id: str) -> Instance:
        """Return an instance.

        :raises ServiceError: ``InvalidInstanceID.NotFound``.
        """
        instance = self._by_id.get(instance_id)
        if instance is None:
            raise ServiceError(
                "InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist"
            )
        return instance

    def listen(self, listener: Listener) -> None:
        """Tell somebody of every change of state from now on."""
        self._listeners.append(listener)

    def launch(self, spec: LaunchSpec) -> Instance:
        """Record an instance and begin to boot it.

        :raises LaunchError: if EC2 refuses.
        """
        instance_id, private_ip = self._account.records.create(spec)
        instance = Instance(
            instance_id=instance_id, private_ip=private_ip, spec=spec, launch_time=self._account.clock.now()
        )
        self._by_id[instance_id] = instance
        self._announce(instance, "")
        self._boot(instance)
        return instance

    def start(self, instance_id: str) -> str:
        """Begin to boot a stopped instance.

        :return: the state before.
        :raises ServiceError: ``IncorrectInstanceState`` unless it is stopped, pending or running.
        """
        instance = self.get(instance_id)
        before = instance.state
        if before in {"pending", "running"}:
            return before
        self._require(instance, "started", {"stopped"})
        self._change(instance, "pending", "")
        self._boot(instance)
        return before

    def stop(self, instance_id: str, reason: str) -> str:
        """Begin to stop an instance.

        :return: the state before.
        :raises ServiceError: ``IncorrectInstanceState`` unless it is running, stopping or stopped.
        """
        instance = self.get(instance_id)
        before = instance.state
        if before in {"stopping", "stopped"}:
            return before
        self._require(instance, "stopped", {"running", "pending"})
        self._change(instance, "stopping", reason)
        self._account.hypervisor.stop(instance_id)
        return before

    def terminate(self, instance_id: str, reason: str) -> str:
        """Begin to end an instance; harmless if that was asked for before.

        :return: the state before.
        """
        instance = self.get(instance_id)
        before = instance.state
        if before not in GONE:
            self._change(instance, "shutting-down", reason)
            self._account.hypervisor.terminate(instance_id)
        return before

    def booted(self, instance_id: str) -> None:
        """Note that a machine runs."""
        with self._account.lock:
            instance = self._by_id[instance_id]
            if instance.state == "pending":
                self._change(instance, "running", "")

    def stopped(self, instance_id: str, reason: str) -> None:
        """Note that a machine no longer runs, asked for or by itself."""
        with self._account.lock:
            instance = self._by_id[instance_id]
            if instance.state in {"pending", "running", "stopping"}:
                self._change(instance, "stopped", instance.reason or reason)

    def terminated(self, instance_id: str) -> None:
        """Note that nothing of a machine is left."""
        with self._account.lock:
            instance = self._by_id[instance_id]
            if instance.state != "terminated":
                self._change(instance, "terminated", instance.reason)

    def failed(self, instance_id: str, reason: str) -> None:
        """Note that a machine could not be booted: EC2 terminates such an instance by itself.

        Source: EC2 user guide, "Instance terminates immediately".
        """
        with self._account.lock:
            instance = self._by_id[instance_id]
            if instance.state not in GONE:
                if not reason.startswith(("Server.", "Client.")):
                    reason = f"Server.InternalError: {reason}"
                self._change(instance, "shutting-down", reason)
                self._account.hypervisor.terminate(instance_id)

    def _boot(self, instance: Instance) -> None:
        instance.boots += 1
        user_data = str(instance.spec.data.get("UserData") or "")
        machine = MachineSpec(
            instance_id=instance.instance_id,
            image_id=instance.spec.image_id,
            private_ip=instance.private_ip,
            public_keys=tuple(self._account.records.public_keys(instance.spec)),
            user_data=base64.b64decode(user_data).decode("utf-8", "replace"),
        )
        self._account.hypervisor.boot(machine, self)

    def _change(self, instance: Instance, state: str, reason: str) -> None:
        before, instance.state, instance.reason = instance.state, state, reason
        self._account.records.set_state(instance.instance_id, state, reason)
        self._announce(instance, before)

    def _announce(self, instance: Instance, before: str) -> None:
        self._account.bus.put(
            "aws.ec2",
            "EC2 Instance State-change Notification",
            [self._account.arn("ec2", f"instance/{instance.instance_id}")],
            {"instance-id": instance.instance_id, "state": instance.state},
        )
        for listener in self._listeners:
            listener(instance, before)

    @staticmethod
    def _require(instance: Instance, verb: str, states: set[str]) -> None:
        if instance.state not in states:
            raise ServiceError(
                "IncorrectInstanceState",
                f"The instance '{instance.instance_id}' is not in a state from which it can be {verb}.",
            )
