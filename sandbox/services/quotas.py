"""Service Quotas: the quotas that fleets meet, as an account has them whose quotas were raised.

They can be read and set; the sandbox launches and registers beyond them all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.wire.app import Handler

Params = dict[str, Any]


@dataclass(kw_only=True)
class Quota:
    """One quota.

    :ivar default: what AWS gives to new accounts.
    :ivar applied: what this account has; None where Service Quotas knows no applied value.
    """

    name: str
    default: float
    applied: float | None


def _quotas() -> dict[tuple[str, str], Quota]:
    """Return the quotas by service and code, with the names and defaults of the Service Quotas console."""
    vcpus = {
        "L-1216C47A": ("Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", 5.0, 4096.0),
        "L-DB2E81BA": ("Running On-Demand G and VT instances", 0.0, 0.0),
        "L-417A185B": ("Running On-Demand P instances", 0.0, 0.0),
        "L-34B43A08": ("All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", 5.0, 4096.0),
    }
    found = {
        ("ec2", code): Quota(name=name, default=default, applied=applied)
        for code, (name, default, applied) in vcpus.items()
    }
    targets = Quota(name="Targets per Target Group per Region", default=1000.0, applied=None)
    return found | {("elasticloadbalancing", "L-A0D0B863"): targets}


class QuotaActions:
    """GetServiceQuota and GetAWSDefaultServiceQuota."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.quotas = _quotas()

    def actions(self) -> Mapping[str, Handler]:
        """Return the handlers."""
        return {"GetServiceQuota": self.get, "GetAWSDefaultServiceQuota": self.get_default}

    def get(self, params: Params) -> dict[str, Any]:
        """Tell the applied value."""
        quota = self._find(params)
        if quota.applied is None:
            raise _none("The request failed because the specified resource does not exist.")
        return {"Quota": self._shape(params, quota, quota.applied)}

    def get_default(self, params: Params) -> dict[str, Any]:
        """Tell AWS's default."""
        quota = self._find(params)
        return {"Quota": self._shape(params, quota, quota.default)}

    def _find(self, params: Params) -> Quota:
        quota = self.quotas.get((params["ServiceCode"], params["QuotaCode"]))
        if quota is None:
            raise _none("The request failed because the specified service or quota does not exist.")
        return quota

    def _shape(self, params: Params, quota: Quota, value: float) -> dict[str, Any]:
        service, code = params["ServiceCode"], params["QuotaCode"]
        return {
            "ServiceCode": service,
            "ServiceName": service,
            "QuotaArn": self._account.arn("servicequotas", f"{service}/{code}"),
            "QuotaCode": code,
            "QuotaName": quota.name,
            "Value": value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }


def _none(message: str) -> ServiceError:
    return ServiceError("NoSuchResourceException", message)
