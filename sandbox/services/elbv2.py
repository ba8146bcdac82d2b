"""Elastic Load Balancing's actions on targets, and what follows from changed listeners and target groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.gateway.target_groups import MotoTargetGroups, forwards_to
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.wire.app import Handler

Params = dict[str, Any]

RESHAPING = (
    "CreateListener", "ModifyListener", "DeleteListener",
    "CreateTargetGroup", "ModifyTargetGroup", "ModifyTargetGroupAttributes",
)  # fmt: skip
"""moto's actions after which target groups may be in use or not, and the balancer has to know."""


class Elbv2Actions:
    """Load balancers as moto records them, targets as the model has them.

    :param reshaped: called after load balancers, listeners or target groups changed.
    """

    def __init__(
        self, account: Account, moto: Moto, target_groups: MotoTargetGroups, reshaped: Callable[[], None]
    ) -> None:
        self._account = account
        self._moto = moto
        self._groups = target_groups
        self._reshaped = reshaped

    def actions(self) -> dict[str, Handler]:
        """Return the handlers."""
        own: dict[str, Handler] = {
            "RegisterTargets": self.register_targets,
            "DeregisterTargets": self.deregister_targets,
            "DescribeTargetHealth": self.describe_target_health,
            "CreateLoadBalancer": self.create_load_balancer,
            "DeleteLoadBalancer": self.delete_load_balancer,
            "DeleteTargetGroup": self.delete_target_group,
        }
        own |= {action: self._reshape(action) for action in RESHAPING}
        return own | {action: _refuse(action) for action in ("CreateRule", "ModifyRule", "SetRulePriorities")}

    def register_targets(self, params: Params) -> None:
        """Register instances."""
        for target in params.get("Targets", ()):
            self._account.targets.register(params["TargetGroupArn"], target["Id"], target.get("Port"))

    def deregister_targets(self, params: Params) -> None:
        """Begin to drain targets."""
        for target in params.get("Targets", ()):
            self._account.targets.deregister(params["TargetGroupArn"], target["Id"], target.get("Port"))

    def describe_target_health(self, params: Params) -> dict[str, Any]:
        """Describe targets, or those asked for."""
        arn = params["TargetGroupArn"]
        if arn not in self._groups.arns():
            raise ServiceError("TargetGroupNotFound", f"Target groups '{arn}' not found")
        port = self._groups.spec(arn).port
        found = {target.key: target for target in self._account.targets.health(arn)}
        asked = params.get("Targets")
        keys = [(each["Id"], each.get("Port") or port) for each in asked] if asked else list(found)
        return {"TargetHealthDescriptions": [_description(key, found.get(key)) for key in keys]}

    def create_load_balancer(self, params: Params) -> dict[str, Any]:
        """Create a load balancer; its DNS name is its own loopback address."""
        if params.get("Type") not in {None, "application"}:
            raise _refused("load balancers other than application load balancers")
        answer = self._moto.call("elbv2", "CreateLoadBalancer", params)
        balancer = answer["LoadBalancers"][0]
        balancer["DNSName"] = self._groups.give_address(balancer["LoadBalancerArn"])
        self._reshaped()
        return answer

    def delete_load_balancer(self, params: Params) -> dict[str, Any]:
        """Delete a load balancer with its listeners."""
        gone = [each for each in self._groups.load_balancers() if each.arn == params["LoadBalancerArn"]]
        answer = self._moto.call("elbv2", "DeleteLoadBalancer", params)
        self._refresh()
        for balancer in gone:
            self._groups.release_address(balancer.address)
        return answer

    def delete_target_group(self, params: Params) -> dict[str, Any]:
        """Delete a target group that no listener forwards to."""
        answer = self._moto.call("elbv2", "DeleteTargetGroup", params)
        self._account.targets.forget(params["TargetGroupArn"])
        self._reshaped()
        return answer

    def _reshape(self, action: str) -> Handler:
        def handler(params: Params) -> dict[str, Any]:
            if params.get("DefaultActions"):
                _check_actions(params["DefaultActions"])
            if params.get("Protocol") not in {None, "HTTP"} or params.get("TargetType") not in {
                None,
                "instance",
            }:
                raise _refused("protocols other than HTTP and targets other than instances")
            answer = self._moto.call("elbv2", action, params)
            self._refresh()
            return answer

        return handler

    def _refresh(self) -> None:
        for arn in self._groups.arns():
            self._account.targets.refresh(arn)
        self._reshaped()


def _description(key: tuple[str, int], target: Any | None) -> dict[str, Any]:
    instance_id, port = key
    if target is None:
        health = {
            "State": "unused",
            "Reason": "Target.NotRegistered",
            "Description": "Target is not registered to the target group",
        }
    else:
        health = {"State": target.state, "Reason": target.reason, "Description": target.description}
    shown = {name: value for name, value in health.items() if value}
    return {
        "Target": {"Id": instance_id, "Port": port},
        "HealthCheckPort": str(port),
        "TargetHealth": shown,
    }


def _check_actions(listener_actions: Sequence[Mapping[str, Any]]) -> None:
    if len(listener_actions) != 1 or len(forwards_to(listener_actions[0])) != 1:
        raise _refused("listeners that do anything else than forward to one target group")


def _refused(what: str) -> ServiceError:
    return ServiceError("UnsupportedOperation", f"The sandbox does not model {what}.")


def _refuse(action: str) -> Handler:
    def handler(_params: Params) -> None:
        raise _refused(f"the action {action} of elbv2")

    return handler
