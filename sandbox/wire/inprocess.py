"""A whole account in this process, on a virtual clock and with virtual machines: for tests.

::

    aws = virtual_account(seed=1)
    autoscaling = aws.client("autoscaling")
    aws.hypervisor.default.boot_seconds = 60
    aws.clock.advance(5)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.cloud import Cloud
from sandbox.faults.layer import Faults
from sandbox.gateway.images import SourceImage
from sandbox.gateway.moto import new_client
from sandbox.gateway.records import MotoInstanceRecords
from sandbox.model.account import Account
from sandbox.model.times import Times
from sandbox.virtual import VirtualHypervisor
from sandbox.wire.calls import Calls
from sandbox.wire.wsgi import attach

ENDPOINT = "http://127.0.0.1:4566"
"""Only a name: nothing listens there."""


@dataclass(frozen=True, kw_only=True)
class VirtualAccount:
    """An account whose clients call it without a socket and whose time passes only when told."""

    cloud: Cloud
    clock: VirtualClock
    hypervisor: VirtualHypervisor

    @property
    def account(self) -> Account:
        """The model, to look into or to disturb."""
        return self.cloud.account

    @property
    def records(self) -> MotoInstanceRecords:
        """EC2's records of instances."""
        return self.cloud.records

    @property
    def faults(self) -> Faults:
        """What goes wrong: set, listed and cleared at any moment."""
        return self.cloud.faults

    @property
    def calls(self) -> Calls:
        """Counts of the API calls so far."""
        return self.cloud.api.calls

    def client(self, service: str, principal: str = "AKIASANDBOX000000000") -> Any:
        """Return a boto3 client of this account.

        :param service: boto3's name, for instance ``autoscaling``.
        :param principal: its access key id, by which its calls are counted.
        """
        client = new_client(service, self.account.region, ENDPOINT, principal, validate=True)
        attach(client, self.cloud.api)
        return client

    def image(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """Put an image of the account's own into it, as if it had been baked.

        :return: the image id.
        """
        image_id = f"ami-{self.account.random.getrandbits(68):017x}"
        image = SourceImage(image_id=image_id, name=name, owner_id=self.account.account_id, tags=tags or {})
        self.cloud.images.add_source(image)
        return image_id


def virtual_account(
    seed: int = 0,
    *,
    region: str = "ap-northeast-1",
    account_id: str = "123456789012",
    times: Times | None = None,
) -> VirtualAccount:
    """Return a fresh, empty account. Of several, only the newest may be used: moto holds one at a time.

    :param seed: decides wherever AWS documents no order.
    """
    clock = VirtualClock()
    hypervisor = VirtualHypervisor(clock)
    cloud = Cloud(
        clock=clock,
        hypervisor=hypervisor,
        region=region,
        account_id=account_id,
        times=times or Times(),
        seed=seed,
        pass_time=clock.advance,
    )
    return VirtualAccount(cloud=cloud, clock=clock, hypervisor=hypervisor)
