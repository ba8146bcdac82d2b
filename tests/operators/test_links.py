"""What each task shows in the AWS console and in the UI's lists while it works."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import TaskDeferred

from bakeroll.core.layers.decisions import Decisions, LayerDecision
from bakeroll.core.layers.images import TAG_LAYER, TAG_PARENT
from bakeroll.core.terraform import Plan, PlanLocation
from bakeroll.core.terraform.plans import Change
from bakeroll.operators import terraform as terraform_operators
from bakeroll.operators.journal import BeginOperator, CloseOperator
from bakeroll.operators.rollout import DrainOperator, FleetOperator
from bakeroll.operators.terraform import PlanOperator
from bakeroll.sensors.capacity import CapacitySensor
from tests.core.rollout.drains.support import behave, fails
from tests.core.rollout.harness import BUCKET
from tests.operators.test_steps import context, fleet_task, run_task, w  # noqa: F401 - the fixture

CONSOLE = "https://ap-northeast-1.console.aws.amazon.com"


def shown(pushed):
    """Return the links that a task pushed, without their common part."""
    links = {key.removeprefix("_link_"): value for key, value in pushed.items() if key.startswith("_link_")}
    assert all(link.startswith(CONSOLE) for link in links.values())
    return {key: link.removeprefix(CONSOLE) for key, link in links.items()}


def test_a_fleets_tasks_show_its_group_and_what_it_serves_behind(w):  # noqa: F811
    pushed = {}
    fleet_task(w, FleetOperator, "scale_out").execute(context(pushed=pushed))
    group = "/ec2/home?region=ap-northeast-1#AutoScalingGroupDetails:id=web;view=activity"
    assert shown(pushed) == {"AutoScalingGroupLink": group}

    pushed = {}
    with pytest.raises(TaskDeferred):
        fleet_task(w, CapacitySensor).execute(context(pushed=pushed))
    links = shown(pushed)
    arn = w.made.target_group_arn
    assert links["TargetGroupLink"] == f"/ec2/home?region=ap-northeast-1#TargetGroup:targetGroupArn={arn}"
    assert links["AutoScalingGroupLink"] == group


def test_a_drain_shows_its_command_and_is_named_by_its_instances(w):  # noqa: F811
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    run_task(w, fleet_task(w, CapacitySensor))
    (ids,), _ = run_task(w, fleet_task(w, FleetOperator, "retire"))
    operator = fleet_task(w, DrainOperator, instance_ids=ids)
    assert operator.title == f"wave 1: {ids[0]} and 1 more"
    run_task(w, operator)
    pushed = {}
    operator.execute(context(pushed=pushed))  # cleared: it finds everything done, and says by which command
    (command,) = {one["CommandId"] for one in w.clients.ssm.list_commands()["Commands"]}
    assert shown(pushed)["CommandLink"] == f"/systems-manager/run-command/{command}?region=ap-northeast-1"


def test_begin_and_close_show_the_journal(w, monkeypatch):  # noqa: F811
    monkeypatch.setattr("bakeroll.operators.journal.terraform", lambda *_: SimpleNamespace(outputs=dict))
    link = f"/s3/buckets/{BUCKET}?region=ap-northeast-1&prefix=journal/production.json&showversions=true"
    for operator in (BeginOperator, CloseOperator):
        pushed = {}
        operator(task_id="t", environment_file=str(w.file)).execute(context(pushed=pushed))
        assert shown(pushed) == {"JournalLink": link}


def test_a_plan_shows_its_state_and_says_what_is_deployed(w, monkeypatch):  # noqa: F811
    location = PlanLocation(BUCKET, "plans/production/run-1/plan.tar.gz", "0")
    change = Change("aws_launch_template.this", "aws_launch_template", "update")
    plan = Plan("production", (change,), (), {}, location)
    monkeypatch.setattr(
        terraform_operators, "terraform", lambda *_: SimpleNamespace(plan=lambda *_, **__: plan)
    )
    base = w.aws.image("base", {TAG_LAYER: "base"})
    application = w.aws.image("application", {TAG_LAYER: "application", TAG_PARENT: base})
    layers = (
        LayerDecision("base", False, (), "f", base, "base"),
        LayerDecision("application", True, ("the commit changed",), "f"),
    )
    decisions = Decisions(layers, "ami-0", "0123456789abcdef0123").to_json()
    operator = PlanOperator(
        task_id="plan",
        environment_file=str(w.file),
        decisions=json.loads(json.dumps(decisions)),
        baked={"layer": "application", "image_id": application},
    )
    pushed = {}
    given = context(pushed=pushed)
    given["params"] = {"allow_destroy": False}
    assert operator.execute(given)["image_id"] == application
    links = shown(pushed)
    key = "terraform/production/terraform.tfstate"
    assert links["StateLink"] == f"/s3/object/{BUCKET}?region=ap-northeast-1&prefix={key}"
    assert links["PlanLink"].endswith("prefix=plans/production/run-1%2F")
    assert pushed["run_note"] == f"version 0123456789ab, application {application} (new), base {base}"


def test_a_drain_names_what_it_could_not_drain(w, capsys):  # noqa: F811
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    run_task(w, fleet_task(w, CapacitySensor))
    (ids,), _ = run_task(w, fleet_task(w, FleetOperator, "retire"))
    behave(w, ids[:1], **fails("collector is down"))
    operator = fleet_task(w, DrainOperator, instance_ids=ids)
    results, _ = run_task(w, operator)
    assert [one["instance_id"] for one in results if one.get("retained")] == ids[:1]
    pushed = {}
    operator.execute(context(pushed=pushed))
    assert pushed["undrained"] == [f"{ids[0]} (retained)"]
    warnings = [line for line in capsys.readouterr().out.splitlines() if "[warning" in line]
    words = f"{ids[0]}: draining failed (Failed), it says: collector is down; it is kept, its log buffers on"
    assert any(words in line for line in warnings)
