"""Simulated rollouts run the steps that the DAG runs, in its order."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

from bakeroll.core import config
from bakeroll.core.rollout.program import program

DAGS = Path(__file__).parents[2] / "dags"


def test_the_graph_of_a_fleet_is_the_program_that_simulations_run(load, tmp_path):
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "environments" / "staging.yaml"
    more = '    waves: [1, "100%"]\n    gate: {soak: 1m}\n    drain:'
    path.write_text(path.read_text().replace("    drain:", more))
    dag = load(folder).dags["rolling_deployment_staging"]
    fleet = config.load(path).fleets["web"]

    def name(task):
        return f"web.{task.step}" if task.step == "verify" else f"web.wave_{task.wave}.{task.step}"

    wanted = list(program(fleet))
    found = [task.task_id for task in dag.topological_sort() if task.task_id.startswith("web.")]
    assert sorted(found) == sorted(map(name, wanted)), "the DAG and core's program have other steps"
    for before, after in pairwise(wanted):
        assert name(before) in dag.get_task(name(after)).upstream_task_ids
    for task in wanted:
        operator = dag.get_task(name(task))
        assert operator.is_mapped == bool(task.mapped)
        if not task.mapped:
            assert (operator.step, operator.fleet, operator.wave) == (task.step, "web", task.wave)
