"""The account without wire and without moto: clients of boto3's shape that call the model directly."""

from __future__ import annotations

from sandbox.direct.account import DirectAccount, direct_account
from sandbox.direct.client import Call, DirectClient

__all__ = ["Call", "DirectAccount", "DirectClient", "direct_account"]
