"""What a resource's policy lets a service of AWS do.

As much of IAM's evaluation as policies of queues and topics use: whoever writes more is refused, which is
seen, instead of allowed, which is not.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a service wants to do.

    :param service: the principal, for instance ``events.amazonaws.com``.
    :param action: for instance ``sqs:SendMessage``.
    :param resource: the ARN of what it does it to.
    :param context: condition keys that the service fills in, in small letters, and their values.
    """

    service: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def allows(policy: str | None, request: Request) -> bool:
    """Tell whether a policy allows a request: one statement has to, and none may deny it.

    :param policy: the policy's JSON; None or empty for none, which allows nothing.
    """
    if not policy:
        return False
    effects: set[str] = {
        statement["Effect"]
        for statement in _listed(json.loads(policy).get("Statement"))
        if _concerns(statement, request)
    }
    return effects == {"Allow"}


def _concerns(statement: Mapping[str, Any], request: Request) -> bool:
    denies: bool = statement["Effect"] == "Deny"
    if {"NotPrincipal", "NotAction", "NotResource"} & set(statement):
        return denies  # not modelled: the careful answer
    action = request.action.lower()
    return (
        _is_principal(statement.get("Principal"), request.service)
        and any(_like(pattern.lower(), action) for pattern in _listed(statement.get("Action")))
        and any(_like(pattern, request.resource) for pattern in _listed(statement.get("Resource")))
        and all(
            _holds(operator, key, _listed(values), request.context, unknown=denies)
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def _is_principal(principal: Any, service: str) -> bool:
    if isinstance(principal, Mapping):
        return service in _listed(principal.get("Service")) or "*" in _listed(principal.get("AWS"))
    return bool(principal == "*")


def _holds(operator: str, key: str, values: list[str], context: Mapping[str, str], *, unknown: bool) -> bool:
    found = context.get(key.lower())
    name = operator.removesuffix("IfExists")
    negated = name.replace("Not", "", 1) if "Not" in name else None
    compare = _OPERATORS.get(negated or name)
    if compare is None:
        return unknown
    if found is None:
        return negated is not None or name != operator
    return any(compare(str(value), found) for value in values) != (negated is not None)


def _like(pattern: str, text: str) -> bool:
    """Compare with a pattern in which * stands for any characters and ? for one."""
    parts = ({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _equal(pattern: str, text: str) -> bool:
    return pattern == text


def _equal_bool(pattern: str, text: str) -> bool:
    return pattern.lower() == text.lower()


_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "ArnEquals": _like,  # it is ArnLike under another name
    "ArnLike": _like,
    "StringEquals": _equal,
    "StringLike": _like,
    "Bool": _equal_bool,
}


def _listed(value: Any) -> list[Any]:
    """Return a policy's element as a list: one may stand there without its brackets."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
