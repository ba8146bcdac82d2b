"""Puts one account together: the model, moto, and the API in front of both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sandbox.clock import Clock
from sandbox.faults.layer import Faults
from sandbox.faults.wrapped import FaultyMachines, FaultyRecords
from sandbox.gateway.addresses import Addresses
from sandbox.gateway.bus import MotoEventBus
from sandbox.gateway.images import DEBIAN, Images, SourceImage
from sandbox.gateway.moto import Moto
from sandbox.gateway.records import MotoInstanceRecords, MotoSubnets
from sandbox.gateway.target_groups import MotoTargetGroups
from sandbox.gateway.templates import MotoLaunchTemplates
from sandbox.model.account import Account
from sandbox.model.ports import Hypervisor
from sandbox.model.times import Times
from sandbox.services import autoscaling, cloudwatch, ec2, events, sqs
from sandbox.services.elbv2 import Elbv2Actions
from sandbox.services.quotas import Quota, QuotaActions
from sandbox.services.ssm import SsmActions
from sandbox.wire.app import AccountApi, Handler

MACHINES = 10
"""Machines have the addresses 127.10.x.y,"""
BALANCERS = 20
"""load balancers 127.20.x.y."""


class Cloud:
    """One account, ready to be called.

    :param hypervisor: boots its machines.
    :param seed: decides wherever AWS documents no order.
    :param managed_policies: whether IAM has the policies that AWS itself manages.
    :param machine_addresses: allots machines' addresses, from 127.10.0.1 on unless given.
    :param balancer_addresses: the same for load balancers, from 127.20.0.1 on.
    :param waits: tells whether a long poll may wait.
    :param pass_time: lets the seconds of a slow call go by.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        hypervisor: Hypervisor,
        region: str,
        account_id: str,
        times: Times,
        seed: int,
        managed_policies: bool = False,
        machine_addresses: Addresses | None = None,
        balancer_addresses: Addresses | None = None,
        source_images: tuple[SourceImage, ...] = (DEBIAN,),
        waits: Callable[[], bool] = lambda: False,
        pass_time: Callable[[float], object] = time.sleep,
    ) -> None:
        self._listeners: list[Callable[[], None]] = []
        self.moto = Moto(region, account_id, managed_policies=managed_policies)
        self.images = Images(self.moto)
        for image in source_images:
            self.images.add_source(image)
        self.records = MotoInstanceRecords(self.moto, self.images, machine_addresses or Addresses(MACHINES))
        self.target_groups = MotoTargetGroups(self.moto, balancer_addresses or Addresses(BALANCERS))
        self.bus = MotoEventBus(self.moto, clock)
        templates = MotoLaunchTemplates(self.moto)
        # Its own randomness, so that setting a fault changes nothing else of a seeded run.
        self.faults = Faults(
            random=random.Random(f"faults {seed}"),  # noqa: S311  # repeatable, not secret
            now=clock.now,
            pass_time=pass_time,
        )
        self.account = Account(
            clock=clock,
            hypervisor=FaultyMachines(hypervisor, self.faults, clock),
            records=FaultyRecords(self.records, self.faults),
            subnets=MotoSubnets(self.moto),
            templates=templates,
            target_groups=self.target_groups,
            bus=self.bus,
            region=region,
            account_id=account_id,
            random=random.Random(seed),  # noqa: S311  # repeatable, not secret
            times=times,
        )
        self.faults.attach(self.account)
        account, moto = self.account, self.moto
        quotas = QuotaActions(account)
        self.quotas: dict[tuple[str, str], Quota] = quotas.quotas
        handlers: dict[str, dict[str, Handler]] = {
            "autoscaling": {
                action: _bind(handler, account) for action, handler in autoscaling.ACTIONS.items()
            },
            "cloudwatch": cloudwatch.actions(moto),
            "ec2": ec2.actions(account, moto, self.images, templates),
            "elbv2": Elbv2Actions(account, moto, self.target_groups, self._reshaped).actions(),
            "events": events.actions(moto, self.bus),
            "service-quotas": dict(quotas.actions()),
            "sqs": sqs.actions(moto, account.lock, waits),
            "ssm": SsmActions(account, moto).actions(),
        }
        self.api = AccountApi(
            lock=account.lock,
            moto=moto,
            handlers=handlers,
            waiting=frozenset({("sqs", "ReceiveMessage")}),
            faults=self.faults,
        )

    def listen(self, listener: Callable[[], None]) -> None:
        """Tell somebody, the lock held, when load balancers, listeners or target groups have changed."""
        self._listeners.append(listener)

    def _reshaped(self) -> None:
        for listener in self._listeners:
            listener()


def _bind(handler: Callable[[Account, dict[str, Any]], dict[str, Any]], account: Account) -> Handler:
    return partial(handler, account)
