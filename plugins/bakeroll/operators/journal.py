"""Take the journal, record the release, give the journal back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bakeroll.core.aws import check_account
from bakeroll.core.rollout import begin, release, rollback
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.terraform import fleets
from bakeroll.links.console import ImageLink, JournalLink, ReleaseLink
from bakeroll.operators.base import DeploymentOperator, StepOperator
from bakeroll.operators.terraform import terraform

if TYPE_CHECKING:
    from airflow.sdk import Context

    from bakeroll.core.deployment import Deployment
    from bakeroll.core.steps import Step

ACTIVE = ["queued", "running"]


class BeginOperator(StepOperator):
    """Check the account, then take the journal, or take it over from a run that is dead."""

    operator_extra_links = (JournalLink(),)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(step="begin", **kwargs)

    def work(self, context: Context) -> Any:
        """Take the journal, with a link to it."""
        _show_journal(context, self.deployment(context))
        return super().work(context)

    def make(self, deployment: Deployment, context: Context, arguments: Mapping[str, Any]) -> Step:  # noqa: ARG002
        """Return the step, which asks Airflow whether the journal's owner still runs."""
        return Begin(deployment.ledger, deployment.name, alive=lambda owner: _alive(context, owner))

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Take the journal, write into it the fleets that there are, and look whether they can be rolled."""
        deployment = self.deployment(context)
        check_account(deployment.clients, deployment.name, deployment.environment.account_id)
        result = super().advance(context, arguments)
        bucket = deployment.environment.state_bucket
        if key := release.finish_earlier(deployment.clients, deployment.ledger, bucket):
            self.log.info("an earlier run was through but for its record, which is finished: %s", key)
        self._leave_rollback(deployment, abandon=bool(context["params"].get("abandon_rollback")))
        outputs = terraform(deployment, self.log.info).outputs()
        if outputs:
            made = fleets(deployment.name, outputs)
            begin.record_fleets(
                deployment.clients,
                deployment.ledger,
                made,
                deployment.environment.fleets,
                replace=bool(context["params"].get("replace")),
            )
            deployment.remember_fleets(made)
            for group in begin.retain_abandoned(
                deployment.clients, deployment.ledger, deployment.environment.fleets
            ):
                self.log.info("%s keeps an instance whose drain is given up (Terminating:Retained)", group)
            deployment.look_ahead(self.log.warning)
        else:
            self.log.info("Terraform was never applied here: this is the first deployment")
        return result

    def _leave_rollback(self, deployment: Deployment, *, abandon: bool) -> None:
        """Let a rollback that an earlier run did not finish be finished, unless a person gives it up."""
        if abandon:
            for line in rollback.abandon(deployment.clients, deployment.ledger, deployment.name):
                self.log.warning(line)
        rollback.insist_on_none(deployment.ledger, deployment.name)


class ReleaseOperator(DeploymentOperator):
    """Tag the image as released for the environment and write the release's record.

    :param fleets: result of each fleet's ``verify``, by fleet.
    """

    template_fields: Sequence[str] = ("fleets",)
    operator_extra_links = (ReleaseLink(), ImageLink())

    def __init__(self, *, fleets: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fleets = fleets

    def work(self, context: Context) -> str:
        """Release, and return the record's key."""
        deployment = self.deployment(context)
        journal = deployment.ledger.going(back=False).read()
        key = release.release(
            deployment.clients,
            deployment.ledger.going(back=False),
            deployment.environment.state_bucket,
            {"fleets": self.fleets},
        )
        region, bucket = deployment.environment.region, deployment.environment.state_bucket
        ReleaseLink.show(context, region, bucket=bucket, key=key)
        ImageLink.show(context, region, image_id=str(journal.image_id))
        self.log.info("%s runs image %s; recorded in %s", deployment.name, journal.image_id, key)
        return key


class CloseOperator(DeploymentOperator):
    """Give the journal back."""

    operator_extra_links = (JournalLink(),)

    def work(self, context: Context) -> None:
        """Delete the journal, unless capacity is still raised."""
        deployment = self.deployment(context)
        _show_journal(context, deployment)
        begin.close(deployment.ledger)
        self.log.info("journal of %s closed", deployment.name)


def _alive(context: Context, owner: str) -> bool:
    """Tell whether a run may still act; one that was deleted from Airflow's database may not."""
    dag_id, _, run_id = owner.partition("/")
    return bool(context["ti"].get_dr_count(dag_id=dag_id, run_ids=[run_id], states=ACTIVE))


def _show_journal(context: Context, deployment: Deployment) -> None:
    bucket = deployment.environment.state_bucket
    JournalLink.show(context, deployment.environment.region, bucket=bucket, key=deployment.ledger.key)
