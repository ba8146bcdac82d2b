"""CloudWatch's alarms: moto keeps them, what it does not know of composite ones is here.

Metric alarms are in the state that SetAlarmState gave them last: nothing measures anything here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from sandbox.gateway.moto import Moto
from sandbox.model.errors import ServiceError
from sandbox.services.paging import page
from sandbox.wire.app import Handler

Params = dict[str, Any]
MOST_NAMES = 100
PAGE = 50
_WORD = re.compile(
    r"\s*(?:(?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?:\"(?P<quoted>[^\"]+)\"|(?P<plain>[^\s()\"]+))\s*\)"
    r"|(?P<word>AND|OR|NOT|TRUE|FALSE|\(|\)))",
    re.IGNORECASE,
)


def actions(moto: Moto) -> dict[str, Handler]:
    """Return CloudWatch's handlers."""

    def put_composite_alarm(params: Params) -> None:
        evaluate(params["AlarmRule"], _states(moto))
        moto.cloudwatch.put_metric_alarm(
            name=params["AlarmName"],
            rule=params["AlarmRule"],
            description=params.get("AlarmDescription"),
            actions_enabled=params.get("ActionsEnabled", True),
            alarm_actions=params.get("AlarmActions", []),
            ok_actions=params.get("OKActions", []),
            insufficient_data_actions=params.get("InsufficientDataActions", []),
            **dict.fromkeys(_OF_METRICS),
            dimensions=[],
            tags=params.get("Tags", []),
        )

    def describe_alarms(params: Params) -> dict[str, Any]:
        if len(params.get("AlarmNames", ())) > MOST_NAMES:
            raise ServiceError("ValidationError", f"AlarmNames has more than {MOST_NAMES} members.")
        _settle(moto)
        types = params.get("AlarmTypes") or ["MetricAlarm"]
        # moto tells of both types whatever is asked for; its refusal of a parameter stays its own.
        asked = {name: value for name, value in params.items() if name not in _OURS}
        found = moto.call("cloudwatch", "DescribeAlarms", asked)
        alarms = [
            (key, alarm)
            for key, kind in (("CompositeAlarms", "CompositeAlarm"), ("MetricAlarms", "MetricAlarm"))
            for alarm in found.get(key, [])
            if kind in types
        ]
        shown, token = page(alarms, {**params, "MaxResults": params.get("MaxRecords")}, PAGE)
        lists: dict[str, list[Any]] = {"CompositeAlarms": [], "MetricAlarms": []}
        for key, alarm in shown:
            lists[key].append(alarm)
        return {**lists, **token}

    return {"PutCompositeAlarm": put_composite_alarm, "DescribeAlarms": describe_alarms}


_OURS = frozenset({"AlarmTypes", "MaxRecords", "NextToken"})
_OF_METRICS = (
    "namespace",
    "metric_name",
    "metric_data_queries",
    "comparison_operator",
    "evaluation_periods",
    "datapoints_to_alarm",
    "period",
    "threshold",
    "statistic",
    "extended_statistic",
    "unit",
    "treat_missing_data",
    "evaluate_low_sample_count_percentile",
    "threshold_metric_id",
)


def _states(moto: Moto) -> dict[str, str]:
    return {name: alarm.state_value for name, alarm in moto.cloudwatch.alarms.items()}


def _settle(moto: Moto) -> None:
    """Bring composite alarms into the state that their rules say, those of others' states included."""
    composite = [alarm for alarm in moto.cloudwatch.alarms.values() if alarm.rule is not None]
    for _ in composite:  # a rule may name another composite alarm, in any order
        for alarm in composite:
            state = "ALARM" if evaluate(alarm.rule, _states(moto)) else "OK"
            if state != alarm.state_value:
                now = datetime.now(UTC).strftime("%A %d %B, %Y %H:%M:%S UTC")
                alarm.update_state(f"{alarm.alarm_arn} transitioned to {state} at {now}", "{}", state)


def evaluate(rule: str, states: dict[str, str]) -> bool:
    """Tell whether a composite alarm's rule is met.

    Source: API reference, PutCompositeAlarm, AlarmRule.

    :param states: the state of each alarm by name.
    :raises ServiceError: ValidationError, if the rule cannot be read or names an alarm that is not there.
    """
    words = _words(rule, states)
    value = _either(words)
    if words:
        raise _unreadable(rule)
    return value


def _words(rule: str, states: dict[str, str]) -> list[str | bool]:
    words: list[str | bool] = []
    at, text = 0, rule.strip()
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None:
            raise _unreadable(rule)
        at = match.end()
        if match["state"]:
            name = match["quoted"] or match["plain"]
            if name not in states:
                raise ServiceError("ValidationError", f"AlarmRule names {name}, which does not exist.")
            words.append(states[name] == match["state"].upper())
        else:
            words.append(match["word"].upper())
    return words


def _either(words: list[str | bool]) -> bool:
    value = _both(words)
    while words and words[0] == "OR":
        words.pop(0)
        value = _both(words) or value
    return value


def _both(words: list[str | bool]) -> bool:
    value = _one(words)
    while words and words[0] == "AND":
        words.pop(0)
        value = _one(words) and value
    return value


def _one(words: list[str | bool]) -> bool:
    word = words.pop(0) if words else ""
    if isinstance(word, bool):
        return word
    if word == "NOT":
        return not _one(words)
    if word in {"TRUE", "FALSE"}:
        return word == "TRUE"
    if word == "(":
        value = _either(words)
        if words and words.pop(0) == ")":
            return value
    raise _unreadable(word)


def _unreadable(rule: str) -> ServiceError:
    return ServiceError("ValidationError", f"AlarmRule cannot be read at {rule!r}.")
