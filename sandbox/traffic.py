"""Keeps the balancer in step with the account: listeners as moto has them, targets as the model has them."""

from __future__ import annotations

from sandbox.balancer import Balancer, LoadBalancerSpec
from sandbox.cloud import Cloud
from sandbox.model.targets import Target

Server = tuple[str, int, str]


class Traffic:
    """Tells the balancer of every change, before whoever made it gets an answer.

    :param balancer: told with the account's lock held, so that changes reach it in order.
    """

    def __init__(self, cloud: Cloud, balancer: Balancer) -> None:
        self._cloud = cloud
        self._balancer = balancer
        cloud.account.targets.listen(lambda target, _before: self.follow(target))
        cloud.listen(self.reshape)

    def reshape(self) -> None:
        """Follow changed load balancers and listeners."""
        self._balancer.apply(
            {
                each.arn: LoadBalancerSpec(
                    address=each.address,
                    listeners={listener.port: listener.target_group for listener in each.listeners},
                )
                for each in self._cloud.target_groups.load_balancers()
            }
        )

    def follow(self, target: Target) -> None:
        """Follow a changed target."""
        arn = target.target_group_arn
        self._balancer.targets(arn, self._servers(arn))

    def _servers(self, arn: str) -> list[Server]:
        found = self._cloud.account.targets.health(arn)
        states = {target.state for target in found}
        # If no target is healthy, an Application Load Balancer sends requests to the unhealthy ones
        # (user guide, "Target group health": fail open).
        serving = "healthy" if "healthy" in states else "unhealthy"
        return [
            # One that became unhealthy gets nothing new either, and what it has is not cut.
            (self._address(target), target.port, "healthy" if target.state == serving else "draining")
            for target in found
            if target.state in {"healthy", "unhealthy", "draining"}
        ]

    def _address(self, target: Target) -> str:
        return self._cloud.account.instances.get(target.instance_id).private_ip
