"""Plan with Terraform, and apply the very plan that was shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import SkipMixin

from bakeroll.core.layers import images
from bakeroll.core.layers.decisions import Decisions
from bakeroll.core.layers.inputs import APPLICATION
from bakeroll.core.rollout import begin
from bakeroll.core.terraform import Plan, PlanLocation, State, Terraform, fleets
from bakeroll.hooks.account import AccountHook
from bakeroll.hooks.git_access import GitAccessHook
from bakeroll.links.console import PlanLink, StateLink
from bakeroll.listeners.run_note import KEY as RUN_NOTE
from bakeroll.operators.approval import APPROVAL_TIMEOUT
from bakeroll.operators.base import DeploymentOperator
from bakeroll.operators.layers import baked_images

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment
    from bakeroll.core.terraform.runs import Value

LOCK_TIMEOUT_SECONDS = 60
"""How long a person's Terraform, or CI's, is waited for."""


class PlanOperator(DeploymentOperator, SkipMixin):
    """Plan, save the plan and show it; if there is nothing to do at all, the rest of the run is skipped.

    :param decisions: result of the layers' decision.
    :param baked: result of the application layer's bake, None if it was not baked.
    """

    template_fields: Sequence[str] = ("decisions", "baked")
    ui_color = "#ece8f8"
    operator_extra_links = (StateLink(), PlanLink())
    inherits_from_skipmixin = True

    def __init__(self, *, decisions: Any, baked: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.decisions = decisions
        self.baked = baked
        self._terraform: Terraform | None = None

    def work(self, context: Context) -> dict[str, Any] | None:
        """Return a summary of the plan, and the image it deploys."""
        deployment = self.deployment(context)
        decisions = Decisions.from_json(self.decisions)
        image_id = decisions.image_of(APPLICATION, baked_images(self.baked))
        context["ti"].xcom_push(key=RUN_NOTE, value=_version(deployment, decisions, image_id))
        _show(context, deployment)
        given = variables(deployment, image_id, self.log.info)
        self._terraform = terraform(deployment, self.log.info)
        with deployment.kept_alive(self.log.warning):
            plan = self._terraform.plan(
                context["run_id"], given, allow_destroy=bool(context["params"]["allow_destroy"])
            )
        if plan.location:
            _show(context, deployment, plan.location.key)
        if plan.fleets is not None:
            _check_fleets(deployment, plan.fleets)
        result = {**plan.summary(), "image_id": image_id}
        reasons = self._reasons(deployment, plan, image_id)
        if reasons:
            self.log.info("there is something to do: %s", "; ".join(reasons))
            self._say_that_it_waits(deployment)
            return result
        self.log.info("nothing to do: image, plan and fleet are all as they should be")
        # skip ends the task by an exception, so the result is kept before.
        context["ti"].xcom_push(key="return_value", value=result)
        self.skip(ti=context["ti"], tasks=self.get_direct_relatives(upstream=False))
        return None

    def _say_that_it_waits(self, deployment: Deployment) -> None:
        """Note until when a person may approve: nobody renews the lease meanwhile."""
        if deployment.environment.approval:
            until = deployment.ledger.now() + APPROVAL_TIMEOUT.total_seconds()
            deployment.ledger.update(lambda journal: journal.model_copy(update={"waits_until": until}))

    def _reasons(self, deployment: Deployment, plan: Plan, image_id: str) -> list[str]:
        """Say why the run goes on."""
        if plan.has_changes:
            return [plan.headline()]
        image = images.get(deployment.clients.ec2, image_id)
        reasons = begin.unsettled(deployment.clients, deployment.ledger.read())
        if image is None or image.judged(deployment.name) != images.RELEASED:
            reasons.append(f"image {image_id} is not released yet")
        return reasons

    def on_kill(self) -> None:
        """Let Terraform release its lock."""
        if self._terraform:
            self._terraform.interrupt()


class ApplyOperator(DeploymentOperator):
    """Apply the saved plan, and write the fleets it made into the journal.

    :param plan: result of :class:`PlanOperator`.
    """

    template_fields: Sequence[str] = ("plan",)
    ui_color = "#ece8f8"
    operator_extra_links = (StateLink(), PlanLink())

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self._terraform: Terraform | None = None

    def work(self, context: Context) -> None:
        """Apply; a plan without changes leaves all as it is, of a stale one what is left of it is applied."""
        deployment = self.deployment(context)
        image_id = self.plan["image_id"]
        _show(context, deployment, (self.plan["location"] or {}).get("key"))
        # A bake takes its time, and a plan may wait a day for its approval.
        deployment.look_ahead(self.log.warning)
        deployment.ledger.going(back=False).update(
            lambda journal: journal.model_copy(
                update={"image_id": image_id, "waits_until": None, "apply_epoch": journal.epoch}
            )
        )
        given = variables(deployment, image_id, self.log.info)
        self._terraform = terraform(deployment, self.log.info)
        with deployment.kept_alive(self.log.warning):
            outputs = self._outputs(self._terraform, self.plan["location"], given)
        made = fleets(deployment.name, outputs)
        _check_fleets(deployment, made)
        settings = deployment.environment.fleets
        begin.record_fleets(deployment.clients, deployment.ledger, made, settings, applied=True)
        deployment.remember_fleets(made)
        for group in begin.retain_abandoned(
            deployment.clients, deployment.ledger, deployment.environment.fleets
        ):
            self.log.info("%s keeps an instance whose drain is given up (Terminating:Retained)", group)

    def _outputs(
        self, terraform: Terraform, location: Mapping[str, str] | None, given: Mapping[str, Value]
    ) -> dict[str, Any]:
        if location is None:
            self.log.info("the plan changes nothing; the rollout goes on where it was left")
            return terraform.outputs()
        return terraform.apply(PlanLocation.from_dict(location), given)

    def on_kill(self) -> None:
        """Let Terraform finish what it is in the middle of and release its lock."""
        if self._terraform:
            self._terraform.interrupt()


def _check_fleets(deployment: Deployment, made: Collection[str]) -> None:
    """Make sure that the environment file has the fleets that Terraform makes, before and after an apply."""
    environment = deployment.environment
    begin.check_fleets(deployment.name, environment.fleets, made, environment.terraform.root)


def _show(context: Context, deployment: Deployment, plan_key: str | None = None) -> None:
    """Show the state in the AWS console, and the saved plan if there is one."""
    region, state = deployment.environment.region, state_of(deployment)
    StateLink.show(context, region, bucket=state.bucket, key=state.key)
    if plan_key:
        PlanLink.show(context, region, bucket=state.bucket, folder=plan_key.rpartition("/")[0])


def _version(deployment: Deployment, decisions: Decisions, image_id: str) -> str:
    """Say in a few words what this run deploys."""
    new = {decision.layer for decision in decisions.layers if decision.bake}
    layers = images.lineage(deployment.clients.ec2, image_id) or [("image", image_id)]
    named = [f"{layer} {one}" + (" (new)" if layer in new else "") for layer, one in layers]
    version = [f"version {decisions.commit[:12]}"] if decisions.commit else []
    return ", ".join(version + named)


def state_of(deployment: Deployment) -> State:
    """Return where an environment's state is."""
    environment = deployment.environment
    return State.of_environment(deployment.name, environment.state_bucket, environment.region)


def variables(deployment: Deployment, image_id: str, say: Callable[[str], None]) -> dict[str, Value]:
    """Return the values that a deployment gives to the root module's variables.

    :param image_id: the application image.
    :param say: gets a line where a fleet's sizes are kept.
    """
    minimum, maximum = begin.floors(deployment.clients, deployment.ledger.read())
    found: dict[str, Value] = {"application_ami_id": image_id}
    if minimum:
        found |= {"min_size_floor": minimum, "max_size_floor": maximum}
        say(f"capacity is raised: the plan keeps MinSize {minimum} and MaxSize {maximum}")
    return found


def terraform(deployment: Deployment, say: Callable[[str], None]) -> Terraform:
    """Return Terraform for an environment.

    :param say: gets each line of its output.
    """
    environment = deployment.environment
    return Terraform(
        environment=deployment.name,
        root=deployment.repository / environment.terraform.root,
        state=state_of(deployment),
        s3=deployment.clients.s3,
        aws=AccountHook(environment).tool_variables(),
        on_line=say,
        git=GitAccessHook(environment).get_conn(),
        binary=environment.terraform.binary,
        run=deployment.owner,
        lock_timeout_seconds=LOCK_TIMEOUT_SECONDS,
    )
