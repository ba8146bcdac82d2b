"""What a rollout asks of Elastic Load Balancing: target groups and the health of their targets."""

from __future__ import annotations

from typing import Any

from sandbox.direct.client import Handler, Params
from sandbox.memory import MemoryTargetGroups
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError


class DirectElbv2:
    """Elastic Load Balancing's handlers over the model."""

    def __init__(self, account: Account, groups: MemoryTargetGroups) -> None:
        self._account = account
        self._groups = groups

    def handlers(self) -> dict[str, Handler]:
        """Return Elastic Load Balancing's handlers."""
        return {
            "DescribeTargetGroups": self.describe_target_groups,
            "DescribeTargetHealth": self.describe_target_health,
        }

    def describe_target_groups(self, params: Params) -> dict[str, Any]:
        """Describe target groups."""
        arns = params.get("TargetGroupArns") or list(self._groups.specs)
        return {"TargetGroups": [self._group(arn) for arn in arns]}

    def describe_target_health(self, params: Params) -> dict[str, Any]:
        """Describe all targets of a group."""
        self._require(params["TargetGroupArn"])
        descriptions = []
        for target in self._account.targets.health(params["TargetGroupArn"]):
            health = {"State": target.state, "Reason": target.reason, "Description": target.description}
            descriptions.append(
                {
                    "Target": {"Id": target.instance_id, "Port": target.port},
                    "HealthCheckPort": str(target.port),
                    "TargetHealth": {name: value for name, value in health.items() if value},
                }
            )
        return {"TargetHealthDescriptions": descriptions}

    def _group(self, arn: str) -> dict[str, Any]:
        self._require(arn)
        spec = self._groups.spec(arn)
        balancer = arn.replace("targetgroup/", "loadbalancer/app/")
        return {
            "TargetGroupArn": arn,
            "Protocol": "HTTP",
            "Port": spec.port,
            "TargetType": "instance",
            "LoadBalancerArns": [balancer] if spec.in_use else [],
        }

    def _require(self, arn: str) -> None:
        if arn not in self._groups.specs:
            raise ServiceError("TargetGroupNotFound", f"Target groups '{arn}' not found")
