"""SSM Run Command for drains: who can be asked, asking many at once, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DELIVERY_SECONDS = 120
"""How long SSM tries to hand a command to an agent that has just said that it is online."""

RUNNING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
"""Invocation states that another state follows
(https://docs.aws.amazon.com/systems-manager/latest/userguide/monitor-commands.html)."""


NEVER_ENDED = frozenset({"Cancelled", "DeliveryTimedOut", "Undeliverable", "Terminated"})
"""Details of a status which say nothing of the script: it was not delivered, or somebody ended it."""


@dataclass(frozen=True)
class Invocation:
    """One command on one instance.

    :ivar details: SSM's detailed status, such as ``DeliveryTimedOut``.
    """

    command_id: str
    instance_id: str
    status: str
    requested_at: float
    details: str = ""

    @property
    def state(self) -> Literal["running", "success", "undelivered", "failed"]:
        """What matters of its status."""
        if self.status in RUNNING:
            return "running"
        if self.status == "Success":
            return "success"
        return "undelivered" if self.details.replace(" ", "") in NEVER_ENDED else "failed"


def invocations(ssm: SSMClient, document: str, since: float) -> dict[str, list[Invocation]]:
    """Return each instance's invocations of a document, the newest first.

    :param document: the document's name.
    :param since: seconds since the epoch.
    :return: by instance id.
    """
    found: dict[str, list[Invocation]] = {}
    after = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pages = ssm.get_paginator("list_command_invocations").paginate(
        Filters=[{"key": "InvokedAfter", "value": after}, {"key": "DocumentName", "value": document}]
    )
    for page in pages:
        for one in page["CommandInvocations"]:
            requested = one["RequestedDateTime"].timestamp()
            found.setdefault(one["InstanceId"], []).append(
                Invocation(
                    one["CommandId"],
                    one["InstanceId"],
                    one["Status"],
                    requested,
                    one.get("StatusDetails", ""),
                )
            )
    for known in found.values():
        known.sort(key=lambda invocation: invocation.requested_at, reverse=True)
    return found


def online(ssm: SSMClient, instance_ids: Sequence[str]) -> set[str]:
    """Return those of the instances whose SSM agent answers.

    :param instance_ids: 1 to 50 ids.
    """
    pages = ssm.get_paginator("describe_instance_information").paginate(
        Filters=[{"Key": "InstanceIds", "Values": list(instance_ids)}]
    )
    return {
        found["InstanceId"]
        for page in pages
        for found in page["InstanceInformationList"]
        if found["PingStatus"] == "Online"
    }


def send(
    ssm: SSMClient, document: str, parameters: Mapping[str, Sequence[str]], instance_ids: Sequence[str]
) -> None:
    """Send a command to all instances that can take it.

    SendCommand is refused as a whole if one instance has gone meanwhile (API reference,
    InvalidInstanceId), so halves are tried until the odd one is alone; that one is left out, and
    the next picture tells what became of it.

    :param document: the document's name.
    :param parameters: its parameters; values are lists, as SSM has them.
    :param instance_ids: 1 to 50 ids.
    """
    try:
        ssm.send_command(
            DocumentName=document,
            InstanceIds=list(instance_ids),
            Parameters={name: list(values) for name, values in parameters.items()},
            TimeoutSeconds=DELIVERY_SECONDS,
            # One instance that fails must not keep SSM from asking the others (MaxErrors is 0 by default).
            MaxErrors="100%",
            MaxConcurrency="100%",
        )
    except ClientError as error:
        if error_code(error) != "InvalidInstanceId":
            raise
        if len(instance_ids) == 1:
            return
        middle = len(instance_ids) // 2
        send(ssm, document, parameters, instance_ids[:middle])
        send(ssm, document, parameters, instance_ids[middle:])


def output(ssm: SSMClient, invocation: Invocation) -> tuple[str, str]:
    """Return standard output and standard error of an invocation.

    SSM keeps the first 24,000 characters of the one and the first 8,000 of the other (API reference,
    GetCommandInvocation), so a script that is to be understood says little before its receipt.
    """
    answer = ssm.get_command_invocation(CommandId=invocation.command_id, InstanceId=invocation.instance_id)
    return answer.get("StandardOutputContent", ""), answer.get("StandardErrorContent", "")
