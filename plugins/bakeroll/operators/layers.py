"""Decide which layers are baked, and bake them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BranchMixIn

from bakeroll.core.errors import RejectedError
from bakeroll.core.layers.bakery import Bakery, Place
from bakeroll.core.layers.decisions import Decisions
from bakeroll.hooks.account import AccountHook
from bakeroll.hooks.git_access import GitAccessHook
from bakeroll.links.console import ImageLink
from bakeroll.listeners.run_note import KEY as RUN_NOTE
from bakeroll.operators.base import DeploymentOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment


class _LayerOperator(DeploymentOperator):
    def bakery(self, deployment: Deployment) -> Bakery:
        """Return the bakery of the environment."""
        hook = AccountHook(deployment.environment)
        return Bakery(
            deployment.name,
            deployment.environment,
            clients=deployment.clients,
            place=Place(
                deployment.repository / "packer",
                custom_endpoint_ec2=hook.ec2_endpoint_url,
                variables=deployment.environment.build.packer_variables(),
                git=GitAccessHook(deployment.environment).get_conn(),
            ),
            say=self.log.info,
        )


class DecideLayersOperator(_LayerOperator, BranchMixIn):
    """Decide which layers are baked and go on with the first of them, saying why.

    :param branches: the task to go on with, by the layer that is baked first.
    :param otherwise: the task to go on with if every image is there.
    """

    inherits_from_skipmixin = True

    def __init__(self, *, branches: Mapping[str, str], otherwise: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branches = dict(branches)
        self.otherwise = otherwise

    def work(self, context: Context) -> None:
        """Clean up after killed bakes, decide, keep the decisions as the result, skip what is not baked.

        An image that was rejected is not deployed again: then all that follows is skipped, and the run is
        green, since nothing went wrong in it.
        """
        try:
            decisions = self._decide(context)
        except RejectedError as refusal:
            self.log.warning(str(refusal))
            context["ti"].xcom_push(key=RUN_NOTE, value=str(refusal))
            self.do_branch(context, None)
            return
        # do_branch ends the task by an exception where it skips, so the result is kept before.
        context["ti"].xcom_push(key="return_value", value=decisions.to_json())
        first = decisions.first_to_bake
        self.do_branch(context, self.branches[first] if first else self.otherwise)

    def _decide(self, context: Context) -> Decisions:
        params = context["params"]
        deployment = self.deployment(context)
        deployment.ledger.read()
        bakery = self.bakery(deployment)
        with deployment.kept_alive(self.log.warning):
            bakery.tidy()
            return bakery.decide(
                rebuild=params["rebuild"],
                application_ref=params["application_ref"] or None,
                ami_id=params["ami_id"] or None,
                deploy_rejected=params["deploy_rejected"],
            )


class BakeLayerOperator(_LayerOperator):
    """Bake one layer with Packer, its output in the log; an image made meanwhile is taken as it is.

    While another environment bakes the same inputs, it waits in its worker slot: whoever bakes has one of
    its own already, so that waiting tasks cannot hold up what they wait for.

    :param layer: base, application_base or application.
    :param decisions: result of :class:`DecideLayersOperator`.
    :param baked_before: result of the parent layer's bake, None if that was not baked.
    """

    template_fields: Sequence[str] = ("decisions", "baked_before")
    ui_color = "#fdf3e1"
    operator_extra_links = (ImageLink(),)

    def __init__(self, *, layer: str, decisions: Any, baked_before: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.decisions = decisions
        self.baked_before = baked_before
        self._bakery: Bakery | None = None

    def work(self, context: Context) -> dict[str, Any]:
        """Bake, and return the image."""
        deployment = self.deployment(context)
        deployment.ledger.read()
        decisions = Decisions.from_json(self.decisions)
        hook = AccountHook(deployment.environment)
        self._bakery = self.bakery(deployment)
        with deployment.kept_alive(self.log.warning):
            baked = self._bakery.bake(
                self.layer,
                decisions.parent_of(self.layer, baked_images(self.baked_before)),
                commit=decisions.commit,
                sources=decisions.sources,
                from_number=decisions.of(self.layer).from_number,
                credentials=hook.tool_variables(),
                vault_password=hook.vault_password(),
            )
        ImageLink.show(context, deployment.environment.region, image_id=baked.image_id)
        return baked.to_json()

    def on_kill(self) -> None:
        """Let Packer remove its temporary instance, key pair and security group."""
        if self._bakery:
            self._bakery.interrupt()


def baked_images(*results: Mapping[str, Any] | None) -> dict[str, str]:
    """Return image ids by layer from results of :class:`BakeLayerOperator`; a skipped one is None."""
    return {result["layer"]: result["image_id"] for result in results if result}
