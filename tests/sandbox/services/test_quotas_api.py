"""Service Quotas as the sandbox answers it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sandbox.wire.inprocess import VirtualAccount, virtual_account

STANDARD = {"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"}
TARGETS = {"ServiceCode": "elasticloadbalancing", "QuotaCode": "L-A0D0B863"}


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


def test_applied_and_default_values_differ(aws: VirtualAccount) -> None:
    quotas = aws.client("service-quotas")
    assert quotas.get_service_quota(**STANDARD)["Quota"]["Value"] == 4096
    assert quotas.get_aws_default_service_quota(**STANDARD)["Quota"]["Value"] == 5
    aws.cloud.quotas["ec2", "L-1216C47A"].applied = 8
    assert quotas.get_service_quota(**STANDARD)["Quota"]["Value"] == 8


def test_a_quota_may_have_no_applied_value(aws: VirtualAccount) -> None:
    quotas = aws.client("service-quotas")
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        quotas.get_service_quota(**TARGETS)
    assert quotas.get_aws_default_service_quota(**TARGETS)["Quota"]["Value"] == 1000


@pytest.mark.parametrize("action", ["get_service_quota", "get_aws_default_service_quota"])
def test_an_unknown_quota_is_refused(aws: VirtualAccount, action: str) -> None:
    with pytest.raises(ClientError, match="NoSuchResourceException") as refused:
        getattr(aws.client("service-quotas"), action)(ServiceCode="ec2", QuotaCode="L-0")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_is_not_modelled_is_refused(aws: VirtualAccount) -> None:
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        aws.client("service-quotas").list_services()
