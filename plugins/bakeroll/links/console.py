"""The links of bakeroll's tasks to the AWS console.

A task pushes a link's address as soon as it knows it, so that the link is there while the task still runs or
waits. Airflow asks for it once more at the end of a task and keeps what it is told
(https://airflow.apache.org/docs/apache-airflow/stable/howto/define-extra-link.html).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import botocore.session
from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink
from airflow.providers.common.compat.sdk import XCom
from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey


class ConsoleLink(BaseOperatorLink):
    """A page of the AWS console.

    :cvar name: what stands on the button.
    :cvar path: the page below the console's address; what is in braces is filled in, escaped.
    """

    name: ClassVar[str]
    path: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address that the task pushed; empty if it came to none."""
        return str(XCom.get_value(ti_key=ti_key, key=self.xcom_key) or "")

    @classmethod
    def key(cls) -> str:
        """Return the key under which Airflow looks for the address."""
        return f"_link_{cls.__name__}"

    @property
    def xcom_key(self) -> str:
        """The same, as Airflow asks for it."""
        return self.key()

    @classmethod
    def show(cls, context: Context, region: str, **values: str) -> None:
        """Show the link from now on; nothing is shown in a partition whose console is not known.

        :param region: of what is linked to.
        :param values: what the path has in braces; never a secret.
        """
        if address := cls.address(region, **values):
            context["ti"].xcom_push(key=cls.key(), value=address)

    @classmethod
    def address(cls, region: str, **values: str) -> str | None:
        """Return the page's address; None in a partition whose console is not known."""
        domain = BaseAwsLink.get_aws_domain(_partition(region))
        if domain is None:
            return None
        escaped = {name: quote(value, safe="/:") for name, value in values.items()}
        return f"https://{region}.console.{domain}/{cls.path.format(region=region, **escaped)}"


class ImageLink(ConsoleLink):
    """An image."""

    name = "Image"
    path = "ec2/home?region={region}#ImageDetails:imageId={image_id}"


class AutoScalingGroupLink(ConsoleLink):
    """A fleet's Auto Scaling group, its activities first."""

    name = "Auto Scaling group"
    path = "ec2/home?region={region}#AutoScalingGroupDetails:id={group};view=activity"


class LoadBalancerLink(ConsoleLink):
    """The load balancer that a fleet serves behind."""

    name = "Load balancer"
    path = "ec2/home?region={region}#LoadBalancer:loadBalancerArn={arn}"


class TargetGroupLink(ConsoleLink):
    """A fleet's targets and their health."""

    name = "Target group"
    path = "ec2/home?region={region}#TargetGroup:targetGroupArn={arn}"


class AlarmLink(ConsoleLink):
    """A CloudWatch alarm with its history."""

    name = "Alarm"
    path = "cloudwatch/home?region={region}#alarmsV2:alarm/{alarm}"


class CommandLink(ConsoleLink):
    """A drain as SSM's Run Command shows it, with its output."""

    name = "SSM command"
    path = "systems-manager/run-command/{command_id}?region={region}"


class StateLink(ConsoleLink):
    """Terraform's state."""

    name = "Terraform state"
    path = "s3/object/{bucket}?region={region}&prefix={key}"


class PlanLink(ConsoleLink):
    """A saved plan with its summary."""

    name = "Saved plan"
    path = "s3/buckets/{bucket}?region={region}&prefix={folder}%2F"


class JournalLink(ConsoleLink):
    """The journal in all its versions: a closed one is deleted."""

    name = "Journal"
    path = "s3/buckets/{bucket}?region={region}&prefix={key}&showversions=true"


class ReleaseLink(ConsoleLink):
    """The record of a release."""

    name = "Release"
    path = "s3/object/{bucket}?region={region}&prefix={key}"


@cache
def _partition(region: str) -> str:
    """Return the partition of a region, also of one that is newer than botocore."""
    partition: Any = botocore.session.get_session().get_partition_for_region(region)
    return str(partition)
