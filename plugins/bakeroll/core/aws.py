"""The AWS clients that core works with, and the one check that comes before all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from bakeroll.core.errors import AccountError

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient


class ServiceQuotas(Protocol):
    """What is asked of Service Quotas (no stubs of its client are installed)."""

    def get_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> Mapping[str, Any]:  # noqa: N803
        """Return the value that the account has."""

    def get_aws_default_service_quota(
        self,
        *,
        ServiceCode: str,  # noqa: N803
        QuotaCode: str,  # noqa: N803
    ) -> Mapping[str, Any]:
        """Return the value that AWS gives to all."""


class Clients:
    """boto3 clients, each made when it is first needed.

    :param make: returns a client for a service name.
    """

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    @cached_property
    def autoscaling(self) -> AutoScalingClient:
        """EC2 Auto Scaling."""
        client: AutoScalingClient = self._make("autoscaling")
        return client

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        """CloudWatch."""
        client: CloudWatchClient = self._make("cloudwatch")
        return client

    @cached_property
    def ec2(self) -> EC2Client:
        """EC2."""
        client: EC2Client = self._make("ec2")
        return client

    @cached_property
    def elbv2(self) -> ElasticLoadBalancingv2Client:
        """Elastic Load Balancing."""
        client: ElasticLoadBalancingv2Client = self._make("elbv2")
        return client

    @cached_property
    def ssm(self) -> SSMClient:
        """Systems Manager."""
        client: SSMClient = self._make("ssm")
        return client

    @cached_property
    def s3(self) -> S3Client:
        """S3."""
        client: S3Client = self._make("s3")
        return client

    @cached_property
    def service_quotas(self) -> ServiceQuotas:
        """Service Quotas."""
        client: ServiceQuotas = self._make("service-quotas")
        return client

    @cached_property
    def sns(self) -> Any:
        """Simple Notification Service."""
        return self._make("sns")

    @cached_property
    def sts(self) -> STSClient:
        """Security Token Service."""
        client: STSClient = self._make("sts")
        return client

    def prepare(self) -> None:
        """Make all clients now, where connections can be read; later calls may come from any thread."""
        for name in ("autoscaling", "cloudwatch", "ec2", "elbv2", "ssm", "s3"):
            getattr(self, name)


def check_account(clients: Clients, environment: str, account_id: str) -> None:
    """Make sure that the credentials belong to the environment's account.

    :param environment: the environment's name, for the message.
    :param account_id: the account that its file names.
    :raises AccountError: if they belong to another.
    """
    identity = clients.sts.get_caller_identity()
    if identity["Account"] != account_id:
        raise AccountError(
            f"{environment}: the credentials belong to account {identity['Account']} ({identity['Arn']}), "
            f"the environment file says {account_id}; correct aws_conn_id or account_id"
        )


CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""S3's codes for a condition of a write that was not met."""
MISSING = frozenset({"NoSuchKey", "404"})
"""S3's codes for an object that is not there."""


def error_code(error: ClientError) -> str:
    """Return AWS's code of an error, such as ``ValidationError``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_text(error: ClientError) -> str:
    """Return AWS's own message of an error."""
    return str(error.response.get("Error", {}).get("Message", "")) or str(error)


def canonical(value: Any) -> str:
    """Return a text that is equal for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
