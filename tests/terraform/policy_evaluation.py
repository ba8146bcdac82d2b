"""Evaluates IAM policies as AWS documents it, as far as modules/iam needs it; what it does not know fails.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What AWS asks of the policies for one API call; it may ask several.

    :param context: condition keys of the request, or lists of values for ``aws:TagKeys``.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, str | list[str]] = field(default_factory=dict)


class Policies:
    """Several policies of one principal, each a document with its name."""

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self.statements = [statement for document in documents for statement in _list(document["Statement"])]
        assert all(statement["Effect"] == "Allow" for statement in self.statements)

    def allow(self, request: Request) -> bool:
        return any(_matches(statement, request) for statement in self.statements)

    @property
    def actions(self) -> set[str]:
        return {action for statement in self.statements for action in _list(statement["Action"])}


def _matches(statement: Mapping[str, Any], request: Request) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    return (
        any(like(action.lower(), request.action.lower()) for action in _list(statement["Action"]))
        and any(like(resource, request.resource) for resource in _list(statement["Resource"]))
        and all(
            _holds(operator, _list(wanted), request.context.get(key))
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, wanted: list[str], given: str | list[str] | None) -> bool:
    if operator.startswith("ForAllValues:"):
        return all(
            _one(operator.removeprefix("ForAllValues:"), wanted, value) for value in _list(given or [])
        )
    if given is None:
        return operator.endswith("IfExists")
    assert isinstance(given, str), f"{operator} of several values is true by chance"
    return _one(operator.removesuffix("IfExists"), wanted, given)


def _one(operator: str, wanted: list[str], given: str) -> bool:
    if operator == "StringEquals":
        return given in wanted
    if operator in {"StringLike", "ArnEquals", "ArnLike"}:
        return any(like(pattern, given) for pattern in wanted)
    raise NotImplementedError(operator)


def like(pattern: str, text: str) -> bool:
    """Tell whether a text is as a pattern with ``*`` and ``?``, which stand for slashes too."""
    parts = {"*": ".*", "?": "."}
    expression = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, text, re.DOTALL) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
