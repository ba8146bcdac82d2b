"""What a person sees of a deployment in Airflow's UI: links to the AWS console, notes, names of drains."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from demo.settings import DAG_ID
from tests.end_to_end.conftest import Outcome

CONSOLE = "https://ap-northeast-1.console.aws.amazon.com"
LINKS = {
    "begin": {"Journal"},
    "layers.bake_application": {"Image"},
    "terraform.plan": {"Terraform state", "Saved plan"},
    "terraform.apply": {"Terraform state", "Saved plan"},
    "web.wave_1.scale_out": {"Auto Scaling group"},
    "web.wave_1.await_capacity": {"Auto Scaling group", "Load balancer", "Target group"},
    "web.wave_1.retire": {"Auto Scaling group"},
    "web.wave_1.drain": {"Auto Scaling group", "SSM command"},
    "web.verify": {"Auto Scaling group"},
    "release": {"Image", "Release"},
    "close": {"Journal"},
}


def asked(outcome: Outcome, run: int, path: str = "", **params: int) -> Any:
    """Ask Airflow's API about one of the three runs."""
    run_id = quote(outcome.runs.deployments[run - 1].run_id)
    return outcome.runs.stage.client._call("GET", f"/dags/{DAG_ID}/dagRuns/{run_id}{path}", params=params)


@pytest.mark.parametrize("task_id", LINKS)
def test_each_task_links_to_what_it_worked_on(outcome: Outcome, task_id: str) -> None:
    mapped = {"map_index": 0} if task_id.endswith(".drain") else {}
    links = asked(outcome, 2, f"/taskInstances/{task_id}/links", **mapped)["extra_links"]
    assert {name for name, address in links.items() if address} == LINKS[task_id], links
    assert all(address.startswith(CONSOLE) for address in links.values() if address), links


def test_each_run_has_a_note_with_version_images_and_outcome(outcome: Outcome) -> None:
    first, second, third = (asked(outcome, run)["note"] for run in (1, 2, 3))
    assert first.startswith("bakeroll: deployed; version "), first
    assert second.startswith("bakeroll: deployed; version "), second
    assert third.startswith("bakeroll: nothing deployed; version "), third
    images = outcome.account().image_ids()
    assert all(images[layer] in second for layer in ("base", "application_base", "application")), second
    assert images["base"] in first
    assert images["application"] not in first, "that one came with the second run"


def test_drains_are_named_by_their_instances(outcome: Outcome) -> None:
    (drain,) = asked(outcome, 2, "/taskInstances/web.wave_1.drain/listMapped")["task_instances"]
    assert drain["rendered_map_index"].startswith("wave 1: i-"), drain["rendered_map_index"]
