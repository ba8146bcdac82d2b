"""CloudWatch's alarms as the sandbox has them: both types, told apart as AWS does."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.wire.inprocess import virtual_account

METRIC: dict[str, Any] = {
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanThreshold",
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "HTTPCode_Target_5XX_Count",
    "Period": 60,
    "Statistic": "Sum",
    "Threshold": 1.0,
}
BOTH = ["MetricAlarm", "CompositeAlarm"]


@pytest.fixture
def cloudwatch() -> Any:
    client = virtual_account().client("cloudwatch")
    for name in ("a", "b", "c d"):
        client.put_metric_alarm(AlarmName=name, **METRIC)
    return client


def state(cloudwatch: Any, name: str) -> str:
    answer = cloudwatch.describe_alarms(AlarmNames=[name], AlarmTypes=BOTH)
    (alarm,) = [*answer["MetricAlarms"], *answer["CompositeAlarms"]]
    return str(alarm["StateValue"])


def set_state(cloudwatch: Any, name: str, value: str) -> None:
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=value, StateReason="because")


def test_without_types_only_metric_alarms_are_told(cloudwatch: Any) -> None:
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(a)")
    answer = cloudwatch.describe_alarms()
    assert ([one["AlarmName"] for one in answer["MetricAlarms"]], answer["CompositeAlarms"]) == (
        ["a", "b", "c d"],
        [],
    )
    answer = cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"])
    assert answer["MetricAlarms"] == []
    assert answer["CompositeAlarms"][0]["AlarmRule"] == "ALARM(a)"


def test_long_lists_have_pages(cloudwatch: Any) -> None:
    cloudwatch.put_composite_alarm(AlarmName="both", AlarmRule="ALARM(a)")
    pages = list(
        cloudwatch.get_paginator("describe_alarms").paginate(
            AlarmTypes=BOTH, PaginationConfig={"PageSize": 3}
        )
    )
    assert [len(page["MetricAlarms"]) + len(page["CompositeAlarms"]) for page in pages] == [3, 1]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("ALARM(a)", True),
        ('ALARM("c d")', False),
        ("NOT ALARM(a)", False),
        ("ALARM(b) OR ALARM(a)", True),
        ("ALARM(b) AND ALARM(a)", False),
        ("ALARM(a) OR ALARM(b) AND ALARM(b)", True),
        ("(ALARM(a) OR ALARM(b)) AND ALARM(b)", False),
        ("INSUFFICIENT_DATA(b) AND NOT OK(a)", True),
        ("TRUE AND NOT FALSE", True),
    ],
)
def test_a_composite_alarms_state_is_its_rules(cloudwatch: Any, rule: str, wanted: bool) -> None:
    set_state(cloudwatch, "a", "ALARM")
    set_state(cloudwatch, "b", "INSUFFICIENT_DATA")
    cloudwatch.put_composite_alarm(AlarmName="rule", AlarmRule=rule)
    assert state(cloudwatch, "rule") == ("ALARM" if wanted else "OK")


def test_a_composite_alarm_of_composite_alarms_follows(cloudwatch: Any) -> None:
    cloudwatch.put_composite_alarm(AlarmName="inner", AlarmRule="ALARM(a)")
    cloudwatch.put_composite_alarm(AlarmName="outer", AlarmRule="NOT ALARM(inner)")
    assert state(cloudwatch, "outer") == "ALARM"
    set_state(cloudwatch, "a", "ALARM")
    assert state(cloudwatch, "outer") == "OK"


@pytest.mark.parametrize(
    "rule", ["ALARM(a", "ALARM(a) ALARM(b)", "ALARM(gone)", "NEVER(a)", "(ALARM(a)", "NOT"]
)
def test_a_rule_that_cannot_be_read_is_refused(cloudwatch: Any, rule: str) -> None:
    with pytest.raises(ClientError, match="ValidationError"):
        cloudwatch.put_composite_alarm(AlarmName="rule", AlarmRule=rule)


def test_more_names_than_a_call_takes_are_refused(cloudwatch: Any) -> None:
    with pytest.raises(ClientError, match="AlarmNames has more than 100"):
        cloudwatch.describe_alarms(AlarmNames=[str(number) for number in range(101)])
