"""The table and the list of what had to hold."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from demo import report
from demo.account import LAYERS
from demo.airflow_client import Task
from demo.deployments import Deployment, Layer, steps
from demo.log_lines import compare

START = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(number: int, version: str, baked: tuple[str, ...], **changes: Any) -> Deployment:
    ran = frozenset({"begin", *(f"layers.bake_{layer}" for layer in baked)})
    plain = Deployment(
        number=number,
        title=f"title {number}",
        run_id=f"manual__{number}",
        succeeded=True,
        seconds=12.0,
        layers={each: Layer(each in baked, f"ami-{each}", f"reason of {each}") for each in LAYERS},
        steps={"begin": 1.0, **{f"layers.bake_{layer}": 20.0 for layer in baked}},
        ran=ran,
        replaced=2 if number == 2 else 0,
        instances=2,
        image_ids=frozenset({"ami-application"}),
        sent=20,
        lines=compare({"a"}, Counter("a")),
        versions={"one": {version}, "two": {version}},
    )
    return replace(plain, **changes)


def runs() -> list[Deployment]:
    return [deployment(1, "1", LAYERS), deployment(2, "2", ("application",)), deployment(3, "2", ())]


def broken(deployments: list[Deployment]) -> list[str]:
    return [check.what for check in report.judge(deployments) if not check.held]


def test_all_holds_when_all_is_as_it_should_be() -> None:
    assert broken(runs()) == []


@pytest.mark.parametrize(
    ("number", "changes", "what"),
    [
        (1, {"succeeded": False}, "run 1 is green"),
        (1, {"versions": {"one": {"1"}, "two": {"1", "2"}}}, "after run 1 two instances serve version 1"),
        (1, {"versions": {"one": {"1"}}}, "after run 1 two instances serve version 1"),
        (2, {"instances": 3}, "after run 2 two instances serve version 2"),
        (2, {"replaced": 1}, "run 2 replaced both instances"),
        (2, {"failures": ("/: status 502",)}, "run 2: no request failed"),
        (2, {"sent": 0}, "run 2: no request failed"),
        (2, {"lines": compare({"a", "b"}, Counter("a"))}, "run 2: every log line was collected once"),
        (3, {"lines": None}, "run 3: every log line was collected once"),
        (3, {"ran": frozenset({"begin", "terraform.plan", "terraform.apply"})}, "run 3 changed nothing"),
        (3, {"ran": frozenset({"web.wave_1.retire"})}, "run 3 changed nothing"),
        (3, {"replaced": 1}, "run 3 replaced no instance"),
    ],
)
def test_each_thing_that_does_not_hold_is_named(number: int, changes: dict[str, Any], what: str) -> None:
    deployments = runs()
    deployments[number - 1] = replace(deployments[number - 1], **changes)
    assert broken(deployments) == [what]


def test_a_layer_that_should_have_been_reused_is_named() -> None:
    deployments = runs()
    deployments[1] = deployment(2, "2", ("application_base", "application"))
    assert broken(deployments) == ["run 2 baked application"]


def test_the_table_shows_every_run_and_every_broken_check() -> None:
    output = io.StringIO()
    deployments = runs()
    deployments[1] = replace(deployments[1], failures=("/slow: status 502",))
    report.show(deployments, report.judge(deployments), Console(file=output, width=160))
    text = output.getvalue()
    for expected in (
        "baked ami-base",
        "skipped ami-base",
        "reason of application",
        "20 / 1",
        "1 / 1",
        "20.0 s",
    ):
        assert expected in text
    assert "✗ run 2: no request failed: 1 of 20 failed: /slow: status 502" in text
    assert "✓ run 3 changed nothing" in text


def test_mapped_tasks_count_from_the_first_start_to_the_last_end() -> None:
    def task(task_id: str, map_index: int, start: float, end: float, state: str = "success") -> Task:
        moments = [START + timedelta(seconds=seconds) for seconds in (start, end)]
        return Task(task_id, map_index, 1, state, end - start, *moments, uuid=task_id)

    tasks = [
        task("web.wave_1.drain", 1, 12, 30),
        task("web.wave_1.drain", 0, 10, 15),
        task("begin", -1, 0, 2),
        task("release", -1, 31, 32, state="skipped"),
    ]
    assert list(steps(tasks).items()) == [("begin", 2.0), ("web.wave_1.drain", 20.0)]
