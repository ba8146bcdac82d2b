"""Target groups and listeners, kept by moto."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.gateway.addresses import Addresses
from sandbox.gateway.moto import Moto
from sandbox.model.ports import HealthCheck, TargetGroupSpec


@dataclass(frozen=True, kw_only=True)
class Listener:
    """A listener and the target group that its default action forwards to."""

    port: int
    target_group: str


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """A load balancer with its loopback address."""

    arn: str
    name: str
    address: str
    listeners: tuple[Listener, ...]


class MotoTargetGroups:
    """Implements :class:`sandbox.model.ports.TargetGroups`, and shows the load balancers to the balancer."""

    def __init__(self, moto: Moto, addresses: Addresses) -> None:
        self._moto = moto
        self._addresses = addresses

    def spec(self, arn: str) -> TargetGroupSpec:
        """Describe one target group."""
        group = self._moto.elbv2.target_groups[arn]
        port = int(group.port)
        check_port = str(group.health_check_port or "traffic-port")
        return TargetGroupSpec(
            arn=arn,
            port=port,
            check=HealthCheck(
                protocol=group.health_check_protocol or "HTTP",
                port=0 if check_port == "traffic-port" else int(check_port),
                path=group.health_check_path or "/",
                matcher=str((getattr(group, "matcher", None) or {}).get("HttpCode", "200")),
                timeout_seconds=float(group.health_check_timeout_seconds),
            ),
            interval_seconds=float(group.health_check_interval_seconds),
            healthy_threshold=int(group.healthy_threshold_count),
            unhealthy_threshold=int(group.unhealthy_threshold_count),
            deregistration_delay_seconds=float(group.attributes["deregistration_delay.timeout_seconds"]),
            in_use=any(arn in _forwards(listener) for listener in self._all_listeners()),
        )

    def arns(self) -> list[str]:
        """Return all target groups' ARNs."""
        return list(self._moto.elbv2.target_groups)

    def give_address(self, arn: str) -> str:
        """Give a new load balancer its address, which is its DNS name as well."""
        balancer = self._moto.elbv2.load_balancers[arn]
        balancer.dns_name = self._addresses.allot()
        balancer.state = "active"
        return str(balancer.dns_name)

    def release_address(self, address: str) -> None:
        """Take a deleted load balancer's address back."""
        self._addresses.release(address)

    def load_balancers(self) -> list[LoadBalancer]:
        """Return all load balancers with their listeners."""
        return [
            LoadBalancer(
                arn=arn,
                name=balancer.name,
                address=balancer.dns_name,
                listeners=tuple(
                    Listener(port=int(listener.port), target_group=next(iter(_forwards(listener))))
                    for listener in balancer.listeners.values()
                ),
            )
            for arn, balancer in self._moto.elbv2.load_balancers.items()
        ]

    def _all_listeners(self) -> Iterator[Any]:
        for balancer in self._moto.elbv2.load_balancers.values():
            yield from balancer.listeners.values()


def _forwards(listener: Any) -> set[str]:
    return {arn for action in listener.default_actions for arn in forwards_to(action.data)}


def forwards_to(action: Mapping[str, Any]) -> list[str]:
    """Return the ARNs of the target groups that an action forwards to, none if it does something else."""
    if action.get("Type") != "forward":
        return []
    groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
    return [str(group["TargetGroupArn"]) for group in groups] or [str(action["TargetGroupArn"])]
