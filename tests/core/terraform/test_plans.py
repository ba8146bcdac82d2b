from __future__ import annotations

import json
from typing import Any

import pytest

from bakeroll.core.terraform import plans
from bakeroll.core.terraform.plans import Plan


def resource(kind: str, actions: list[str], **more: Any) -> dict[str, Any]:
    change = {"actions": actions, "before": {"a": 1, "b": "secret"}, "after": {"a": 2, "b": "secret"}}
    return {"address": f"{kind}.this", "type": kind, "change": {**change, **more.pop("change", {})}, **more}


def plan_of(*resources: dict[str, Any], **more: Any) -> Plan:
    return plans.from_document("test", {"resource_changes": list(resources), **more})


def test_what_is_read_or_stays_is_no_change() -> None:
    plan = plan_of(
        resource("aws_lb", ["no-op"]),
        resource("aws_ami", ["read"]),
        output_changes={"url": {"actions": ["no-op"]}},
    )
    assert not plan.has_changes
    assert plan.headline() == "test: nothing to change"


def test_counts_as_terraform_does() -> None:
    plan = plan_of(
        resource("aws_sqs_queue", ["create"]),
        resource("aws_launch_template", ["update"]),
        resource("aws_sns_topic", ["delete"]),
        resource("aws_iam_role", ["delete", "create"]),
        resource("aws_iam_policy", ["create", "delete"]),
    )
    assert (plan.add, plan.change, plan.destroy) == (3, 1, 3)
    assert plan.forbidden == ()


@pytest.mark.parametrize("kind", sorted(plans.PROTECTED_TYPES))
@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"]])
def test_what_serves_may_not_be_destroyed_or_replaced(kind: str, actions: list[str]) -> None:
    assert [change.type for change in plan_of(resource(kind, actions)).forbidden] == [kind]


@pytest.mark.parametrize("actions", [["create"], ["update"], ["forget"]])
def test_everything_else_may_happen_to_it(actions: list[str]) -> None:
    assert plan_of(resource("aws_lb", actions)).forbidden == ()


def test_an_output_alone_is_a_change() -> None:
    plan = plan_of(output_changes={"url": {"actions": ["update"]}})
    assert plan.has_changes
    assert plan.headline() == "test: 0 to add, 0 to change, 0 to destroy, outputs url change"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"after": {"web": {"autoscaling_group": "x"}}, "after_unknown": {"web": {"hook": True}}}, {"web"}),
        ({"after": {"web": {}}, "after_unknown": {"web": {}, "worker": True}}, {"web", "worker"}),
        ({"after": {"web": {}}, "after_unknown": False}, {"web"}),
        ({"after": {}, "after_unknown": False}, set()),
        ({"after_unknown": True}, None),
        (None, None),
    ],
)
def test_the_fleets_are_known_by_name_before_they_are_made(
    change: dict[str, Any] | None, names: set[str] | None
) -> None:
    changes = {"fleets": {"actions": ["create"], **change}} if change else {}
    assert plan_of(output_changes=changes).fleets == names


def test_lines_name_attributes_and_never_values() -> None:
    plan = plan_of(
        resource(
            "aws_launch_template", ["update"], change={"after_unknown": {"latest_version": True, "x": False}}
        ),
        resource("aws_lb", ["delete"], deposed="1234"),
        planned_values={
            "outputs": {
                "password": {"sensitive": True, "value": "secret"},
                "url": {"sensitive": False, "value": "http://x/"},
                "unknown": {"sensitive": False},
            }
        },
    )
    assert [change.line() for change in plan.changes] == [
        "~ update aws_launch_template.this (a, latest_version)",
        "- delete aws_lb.this (deposed 1234)",
    ]
    assert plan.outputs == {"url": "http://x/"}
    assert "secret" not in json.dumps(plan.summary())
