"""What the model needs from outside: machines, records of EC2, target groups, launch templates, a bus.

The server plugs in real machines and moto; tests plug in virtual machines and dictionaries.
Every method is called with the account's lock held and returns at once; what takes time answers
later through a callback, which the implementation may call from any thread (the model takes the
lock itself).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """What an instance is launched from, after its launch template version was resolved.

    ``data`` is the launch template data (or the RunInstances parameters) as EC2's API names them.
    """

    image_id: str
    instance_type: str
    availability_zone: str
    subnet_id: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    group_name: str | None = None
    launch_template_id: str | None = None
    launch_template_name: str | None = None
    launch_template_version: str | None = None


class LaunchError(Exception):
    """EC2 refuses to launch; carries AWS's error code and message for the scaling activity."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """What a hypervisor needs to boot one instance."""

    instance_id: str
    image_id: str
    private_ip: str
    public_keys: Sequence[str] = ()
    user_data: str = ""


class MachineEvents(Protocol):
    """Where a hypervisor reports what became of a machine."""

    def booted(self, instance_id: str) -> None:
        """Say that the machine runs: sshd answers and its units were started."""

    def stopped(self, instance_id: str, reason: str) -> None:
        """Say that it no longer runs, asked for or by itself."""

    def terminated(self, instance_id: str) -> None:
        """Say that nothing of it is left."""

    def failed(self, instance_id: str, reason: str) -> None:
        """Say that it could not be booted."""


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a script run on a machine left behind."""

    status: int
    stdout: str
    stderr: str
    timed_out: bool = False


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """One health check of a target group, as ELBv2 describes it."""

    protocol: str
    port: int
    """0 in a target group's settings if it checks the traffic port; the model fills in the target's."""
    path: str
    matcher: str
    timeout_seconds: float


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of one health check; ``reason`` is one of ELBv2's target reason codes."""

    healthy: bool
    reason: str = ""
    description: str = ""


class Hypervisor(Protocol):
    """Boots, stops and ends machines, runs commands in them and looks at them."""

    def boot(self, machine: MachineSpec, events: MachineEvents) -> None:
        """Begin to boot a machine, or to boot it again after a stop."""

    def stop(self, instance_id: str) -> None:
        """Begin to stop it; its file system stays."""

    def terminate(self, instance_id: str) -> None:
        """Begin to end it and remove its file system."""

    def crash(self, instance_id: str) -> None:
        """End it at once and unasked, as a host does that fails; its file system stays."""

    def create_image(self, instance_id: str, image_id: str, done: Callable[[str | None], None]) -> None:
        """Begin to keep its file system as an image; ``done`` gets None or what went wrong."""

    def delete_image(self, image_id: str) -> None:
        """Forget an image's file system, as far as no other image or machine builds on it."""

    def agent_online(self, instance_id: str) -> bool:
        """Tell whether an SSM agent would answer in it."""

    def run_command(
        self, instance_id: str, script: str, timeout_seconds: float, done: Callable[[CommandResult], None]
    ) -> None:
        """Begin to run a shell script in it, as root, as the SSM agent does."""

    def cancel_command(self, instance_id: str, script: str) -> None:
        """Begin to end a script that was begun with exactly this text."""

    def check_target(self, instance_id: str, check: HealthCheck, done: Callable[[CheckResult], None]) -> None:
        """Begin one health check against it."""

    def console_output(self, instance_id: str) -> str:
        """Return what its console shows."""


class InstanceRecords(Protocol):
    """EC2's own record of an instance: moto in the server, a dictionary in tests."""

    def create(self, spec: LaunchSpec) -> tuple[str, str]:
        """Record a launch.

        :return: the instance id and the private IP address.
        :raises LaunchError: with AWS's code and message, for instance when the image is gone.
        """

    def public_keys(self, spec: LaunchSpec) -> Sequence[str]:
        """Return the OpenSSH public keys of the spec's ``KeyName``; none if it names no key pair."""

    def set_state(self, instance_id: str, state: str, reason: str) -> None:
        """Record the state ("pending", "running", "stopping", "stopped", "shutting-down", "terminated")."""


class Subnets(Protocol):
    """EC2's subnets."""

    def zone(self, subnet_id: str) -> str:
        """Return the availability zone of a subnet.

        :raises KeyError: if there is none with this id.
        """

    def default(self, zone: str) -> str:
        """Return the default subnet of an availability zone.

        :raises KeyError: if it has none.
        """


class LaunchTemplates(Protocol):
    """EC2's launch templates."""

    def resolve(self, template: str, version: str) -> tuple[str, str, str, Mapping[str, Any]]:
        """Find one version's data.

        :param template: id or name.
        :param version: a number, ``$Latest`` or ``$Default``.
        :return: template id, template name, version number and launch template data.
        :raises LaunchError: if the template or version does not exist.
        """


@dataclass(frozen=True, kw_only=True)
class TargetGroupSpec:
    """The settings of a target group that matter in time."""

    arn: str
    port: int
    check: HealthCheck
    interval_seconds: float
    healthy_threshold: int
    unhealthy_threshold: int
    deregistration_delay_seconds: float
    in_use: bool
    """Whether a listener forwards to it; targets of an unused group are ``unused``."""


class TargetGroups(Protocol):
    """ELBv2's target groups."""

    def spec(self, arn: str) -> TargetGroupSpec:
        """Describe one.

        :raises KeyError: if there is none with this ARN.
        """


class EventBus(Protocol):
    """Where services put their events: EventBridge's default bus."""

    def put(self, source: str, detail_type: str, resources: Sequence[str], detail: Mapping[str, Any]) -> None:
        """Hand over one event."""
