"""A plan made anew may do less than the one that was shown, never more."""

from __future__ import annotations

from typing import Any

import pytest

from bakeroll.core.terraform.renewal import additions


def change(
    actions: list[str], before: Any = None, after: Any = None, unknown: Any = None, **more: Any
) -> Any:
    described = {"actions": actions, "before": before, "after": after, "after_unknown": unknown or {}}
    return {"address": more.pop("address", "aws_lb.this"), "change": described, **more}


def plan(*changes: Any, **outputs: Any) -> dict[str, Any]:
    return {"resource_changes": list(changes), "output_changes": outputs}


UPDATE = change(["update"], {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": None}, {"c": True})
CREATE = change(["create"], None, {"name": "web", "tags": {"x": "1"}, "rules": [{"port": 80}]}, {"id": True})
REPLACE = change(["delete", "create"], {"a": 1}, {"a": 2})


@pytest.mark.parametrize(
    ("shown", "renewed"),
    [
        (plan(UPDATE, {**CREATE, "address": "aws_lb.other"}), plan(UPDATE)),
        (plan(UPDATE), plan()),
        (plan(UPDATE), plan(UPDATE)),
        (plan(UPDATE), plan(change(["update"], {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 1}))),
        # What was not known is known now, since the other resource was made.
        (plan(UPDATE), plan(change(["update"], {"a": 1, "b": 1, "c": 1}, {"a": 2, "b": 1, "c": 7}))),
        (
            plan(change(["update"], {"t": [{"v": 1}]}, {"t": [{}]}, {"t": [{"v": True}]})),
            plan(change(["update"], {"t": [{"v": 1}]}, {"t": [{"v": 2}]}, {"t": [{}]})),
        ),
        (plan(CREATE), plan(CREATE, change(["no-op"], address="aws_vpc.this"))),
        (plan(CREATE), plan(CREATE, change(["read"], address="data.aws_ami.this"))),
        # The half of a replacement that is left.
        (plan(REPLACE), plan(change(["create"], None, {"a": 2}))),
        (plan(REPLACE), plan(change(["create", "delete"], {"a": 1}, {"a": 2}))),
        (plan(REPLACE), plan(change(["delete"], {"a": 1}, deposed="1234"))),
        (
            plan(UPDATE, change(["delete"], {"a": 1}, deposed="1234")),
            plan(change(["delete"], {"a": 1}, deposed="1234")),
        ),
        (plan(change(["delete"], {"a": 1})), plan(change(["delete"], {"a": 5}))),
        (
            plan(url={"actions": ["create"], "after_unknown": True}),
            plan(url={"actions": ["create"], "after": "http://x/", "after_unknown": False}),
        ),
    ],
)
def test_less_or_the_same_may_be_applied(shown: Any, renewed: Any) -> None:
    assert additions(shown, renewed) == []


@pytest.mark.parametrize(
    ("shown", "renewed", "words"),
    [
        (plan(), plan(UPDATE), "update aws_lb.this"),
        (
            plan(CREATE),
            plan(change(["update"], {"a": 1}, {"a": 2})),
            "update aws_lb.this, which was to create",
        ),
        (plan(UPDATE), plan(REPLACE), "replace aws_lb.this, which was to update"),
        (
            plan(CREATE),
            plan(change(["delete", "create"], {}, {})),
            "replace aws_lb.this, which was to create",
        ),
        (plan(CREATE), plan(change(["delete"], {}, deposed="1")), "delete aws_lb.this (deposed)"),
        (
            plan(change(["delete"], {"a": 1}, deposed="1234")),
            plan(change(["delete"], {"a": 1})),
            "delete aws_lb.this",
        ),
        # Another attribute, or the same one with another value.
        (
            plan(UPDATE),
            plan(change(["update"], {"a": 1, "b": 1}, {"a": 2, "b": 3})),
            "update aws_lb.this (b)",
        ),
        (plan(UPDATE), plan(change(["update"], {"a": 1}, {"a": 3})), "update aws_lb.this (a)"),
        (
            plan(CREATE),
            plan(change(["create"], None, {"name": "web", "tags": {"x": "2"}, "rules": [{"port": 80}]})),
            "create aws_lb.this (tags)",
        ),
        (
            plan(CREATE),
            plan(change(["create"], None, {"name": "web", "tags": {"x": "1"}, "rules": []})),
            "create aws_lb.this (rules)",
        ),
        (
            plan(UPDATE),
            plan(change(["update"], {"a": 1}, {"a": None}, {"a": True})),
            "update aws_lb.this (a)",
        ),
        (plan(), plan(url={"actions": ["update"], "after": "s3cret"}), "output url"),
        (
            plan(url={"actions": ["update"], "after": "x", "after_unknown": False}),
            plan(url={"actions": ["update"], "after": "s3cret", "after_unknown": False}),
            "output url",
        ),
    ],
)
def test_more_may_not(shown: Any, renewed: Any, words: str) -> None:
    assert additions(shown, renewed) == [words]
