"""CloudWatch alarms by name, metric and composite ones alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMES_A_CALL = 100
"""DescribeAlarms takes at most 100 names (API reference, AlarmNames)."""


@dataclass(frozen=True)
class Alarm:
    """An alarm as it stands.

    :ivar state: OK, ALARM or INSUFFICIENT_DATA.
    :ivar reason: CloudWatch's own words on the state.
    """

    name: str
    state: str
    reason: str


def describe(cloudwatch: CloudWatchClient, names: Collection[str]) -> list[Alarm]:
    """Return the alarms that there are of these names, in the order of the names.

    Both types are asked for by name: without AlarmTypes CloudWatch answers metric alarms only
    (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html).

    :param cloudwatch: a boto3 client.
    """
    wanted = list(dict.fromkeys(names))
    found: dict[str, Alarm] = {}
    pages = cloudwatch.get_paginator("describe_alarms")
    for start in range(0, len(wanted), NAMES_A_CALL):
        for page in pages.paginate(
            AlarmNames=wanted[start : start + NAMES_A_CALL], AlarmTypes=["MetricAlarm", "CompositeAlarm"]
        ):
            for alarm in [*page.get("MetricAlarms", []), *page.get("CompositeAlarms", [])]:
                name = alarm["AlarmName"]
                reason = " ".join(alarm.get("StateReason", "").split())
                found[name] = Alarm(name, alarm["StateValue"], reason)
    return [found[name] for name in wanted if name in found]


def missing(names: Collection[str], found: Collection[Alarm]) -> str | None:
    """Return what is wrong if an alarm is not there: nobody could say whether it is quiet."""
    there = {alarm.name for alarm in found}
    absent = [name for name in names if name not in there]
    if not absent:
        return None
    return (
        f"there is no CloudWatch alarm {', '.join(absent)} in this account and region; make it (by hand, if "
        "this environment's Terraform is to make it) or take it out of gate.alarms"
    )
