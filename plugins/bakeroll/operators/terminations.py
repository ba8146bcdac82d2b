"""Find and drain the instances that terminate outside deployments."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from bakeroll.core.aws import check_account
from bakeroll.core.rollout.drains import DrainWaiting, terminations
from bakeroll.links.console import AutoScalingGroupLink, CommandLink
from bakeroll.operators.base import DeploymentOperator, StepOperator
from bakeroll.operators.commands import show_newest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment

LONGEST_HOLD = timedelta(hours=48)
"""The longest that a lifecycle hook holds an instance
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks-overview.html)."""


class FindWaitingOperator(DeploymentOperator):
    """Look for instances that wait to be drained and are no live rollout's."""

    def work(self, context: Context) -> list[dict[str, Any]]:
        """Return them by fleet, at most 50 together."""
        deployment = self.deployment(context)
        check_account(deployment.clients, deployment.name, deployment.environment.account_id)
        fleets = deployment.known_fleets()
        if not fleets:
            self.log.info("%s has no fleet yet: nothing was deployed", deployment.name)
        found = terminations.find(deployment.clients, fleets, deployment.ledger.peek(), time.time())
        for line in found.told:
            self.log.info(line)
        for line in terminations.tell_of_retained(
            deployment.clients,
            deployment.environment.state_bucket,
            deployment.name,
            fleets,
            found=found,
            run=deployment.owner,
            now=time.time(),
        ):
            self.log.warning(line)
        for instance_id in (one for ids in found.retained.values() for one in ids):
            self.log.warning(
                "%s is retained, its log buffers still on its disk: save them, then terminate it by name",
                instance_id,
            )
        if not found.chunks:
            self.log.info(
                "nothing to drain in %s", ", ".join(fleet.group for fleet in fleets.values()) or "it"
            )
        return found.chunks


class DrainWaitingOperator(StepOperator):
    """Drains up to 50 instances of one fleet; mapped over what :class:`FindWaitingOperator` found.

    :param chunk: ``fleet`` and its ``instance_ids``.
    """

    template_fields: Sequence[str] = ("chunk",)
    operator_extra_links = (AutoScalingGroupLink(), CommandLink())
    # A flush takes two or three seconds, a trigger's turn with the worker that follows it ten.
    looks_before_deferring = 5

    def __init__(self, *, chunk: Any, **kwargs: Any) -> None:
        super().__init__(step="drain_waiting", **kwargs)
        self.chunk = chunk
        self._made: Deployment | None = None

    def deployment(self, context: Context) -> Deployment:
        """Return the environment as this task sees it; its clients take a second to make, so only once."""
        if self._made is None:
            self._made = super().deployment(context)
        return self._made

    @property
    def title(self) -> str:
        """The chunk in a few words, for the map index."""
        first, *others = self.chunk["instance_ids"]
        return f"{self.chunk['fleet']}: {first}" + (f" and {len(others)} more" if others else "")

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step."""
        return {"fleet": self.chunk["fleet"], "instance_ids": list(self.chunk["instance_ids"])}

    def work(self, context: Context) -> Any:
        """Drain; commands that failed before this attempt are sent again."""
        arguments = self.plain_arguments()
        step = self.deployment(context).step(self.step, arguments)
        if not isinstance(step, DrainWaiting):
            raise TypeError(f"{self.step} drains nothing that waits")
        return self.advance(context, {**arguments, "earlier": step.earlier_commands()})

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Go on with the drain, with links to the group and to the newest command."""
        deployment = self.deployment(context)
        fleet = deployment.known_fleets().get(self.chunk["fleet"])
        if fleet:
            AutoScalingGroupLink.show(context, deployment.environment.region, group=fleet.group)
        try:
            return super().advance(context, arguments)
        finally:
            if fleet:
                since = time.time() - LONGEST_HOLD.total_seconds()
                show_newest(context, deployment, fleet.drain_document, since, self.chunk["instance_ids"])
