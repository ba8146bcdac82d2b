"""A whole account in this process without moto: for thousands of simulated rollouts.

::

    aws = direct_account(seed=1)
    autoscaling = aws.client("autoscaling")
    aws.clock.advance(5)
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sandbox.clock import VirtualClock
from sandbox.direct.client import Answered, Around, DirectClient, Handler, straight, unheard
from sandbox.direct.ec2 import DirectEc2
from sandbox.direct.elbv2 import DirectElbv2
from sandbox.direct.retries import Retries
from sandbox.direct.s3 import MemoryObjects
from sandbox.direct.templates import DirectTemplates
from sandbox.faults.layer import Faults
from sandbox.faults.wrapped import FaultyMachines, FaultyRecords
from sandbox.memory import MemoryBus, MemoryRecords, MemorySubnets, MemoryTargetGroups, MemoryTemplates
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.model.times import Times
from sandbox.services import autoscaling
from sandbox.services.ssm import SsmActions
from sandbox.virtual import VirtualHypervisor


@dataclass
class MemoryDocuments:
    """SSM documents by name, in their JSON."""

    contents: dict[str, str] = field(default_factory=dict)

    def call(self, service: str, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Answer GetDocument.

        :raises ServiceError: ``InvalidDocument``.
        """
        if (service, action) != ("ssm", "GetDocument"):
            raise ServiceError("UnsupportedOperation", f"The direct account does not model {action}.")
        name = params["Name"]
        if name not in self.contents:
            raise ServiceError("InvalidDocument", f"Document with name {name} does not exist.")
        return {
            "Name": name,
            "Content": self.contents[name],
            "DocumentFormat": "JSON",
            "DocumentVersion": "1",
            "Status": "Active",
        }


@dataclass
class MemoryTopics:
    """What was published.

    :ivar topics: the ARNs of the topics there are; None: any.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    topics: set[str] | None = None

    def put(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a message.

        :raises ServiceError: ``NotFound``, if there is no such topic.
        """
        if self.topics is not None and params.get("TopicArn") not in self.topics:
            raise ServiceError("NotFound", "Topic does not exist", 404)
        self.messages.append(dict(params))
        return {"MessageId": f"{len(self.messages):08d}-0000-4000-8000-000000000000"}


@dataclass(kw_only=True)
class DirectAccount:
    """An account whose clients call the model itself and whose time passes only when told."""

    clock: VirtualClock
    hypervisor: VirtualHypervisor
    account: Account
    records: MemoryRecords
    templates: MemoryTemplates
    target_groups: MemoryTargetGroups
    objects: MemoryObjects
    published: MemoryTopics
    documents: MemoryDocuments
    ec2: DirectEc2
    bus: MemoryBus
    faults: Faults
    handlers: Mapping[str, Mapping[str, Handler]]
    retry_random: random.Random

    def client(
        self,
        service: str,
        principal: str = "direct",
        *,
        around: Around = straight,
        answered: Answered = unheard,
        attempts: int = 1,
    ) -> Any:
        """Return a client.

        :param service: boto3's name, for instance ``autoscaling``.
        :param principal: who calls.
        :param around: sees each try of a call.
        :param answered: is told of each answer.
        :param attempts: how often a call is tried at the most.
        """
        return DirectClient(
            service,
            self.handlers.get(service, {}),
            principal,
            region=self.account.region,
            faults=self.faults,
            retries=Retries(attempts, random=self.retry_random, pass_time=self.clock.advance),
            around=around,
            answered=answered,
        )

    def image(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """Put an image of the account's own into it, as if it had been baked.

        :return: the image id.
        """
        image_id = f"ami-{self.account.random.getrandbits(68):017x}"
        self.ec2.put_image(image_id, name, tags or {})
        return image_id


def direct_account(seed: int = 0, *, times: Times | None = None) -> DirectAccount:
    """Return a fresh, empty account; any number may be used beside each other.

    :param seed: decides wherever AWS documents no order.
    """
    chance = random.Random(seed)  # noqa: S311  # repeatable, not secret
    clock = VirtualClock()
    hypervisor = VirtualHypervisor(clock)
    records, templates, groups = MemoryRecords(chance), MemoryTemplates(), MemoryTargetGroups()
    bus, objects, documents = MemoryBus(), MemoryObjects(), MemoryDocuments()
    faults = Faults(
        random=random.Random(f"faults {seed}"),  # noqa: S311
        now=clock.now,
        pass_time=clock.advance,
    )
    account = Account(
        clock=clock,
        hypervisor=FaultyMachines(hypervisor, faults, clock),
        records=FaultyRecords(records, faults),
        subnets=MemorySubnets(),
        templates=templates,
        target_groups=groups,
        bus=bus,
        random=chance,
        times=times,
    )
    faults.attach(account)
    ec2 = DirectEc2(account, records)
    published = MemoryTopics()
    documented = {"GetDocument": partial(documents.call, "ssm", "GetDocument")}
    return DirectAccount(
        clock=clock,
        hypervisor=hypervisor,
        account=account,
        records=records,
        templates=templates,
        target_groups=groups,
        objects=objects,
        published=published,
        documents=documents,
        ec2=ec2,
        bus=bus,
        faults=faults,
        retry_random=random.Random(f"retries {seed}"),  # noqa: S311
        handlers={
            "autoscaling": {
                action: _bind(handler, account) for action, handler in autoscaling.ACTIONS.items()
            },
            "ec2": {**ec2.handlers(), **DirectTemplates(templates).handlers()},
            "elbv2": DirectElbv2(account, groups).handlers(),
            "s3": objects.handlers(),
            "ssm": {**SsmActions(account, documents).actions(), **documented},
            "sns": {"Publish": published.put},
            "sts": {"GetCallerIdentity": lambda _: _identity(account)},
        },
    )


def _bind(handler: Callable[[Account, dict[str, Any]], dict[str, Any]], account: Account) -> Handler:
    return partial(handler, account)


def _identity(account: Account) -> dict[str, str]:
    return {
        "Account": account.account_id,
        "Arn": f"arn:aws:iam::{account.account_id}:user/direct",
        "UserId": "direct",
    }
