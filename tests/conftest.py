"""Airflow for tests: a home of its own, no example DAGs, the repository's plugins."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
HOME = Path(tempfile.mkdtemp(prefix="bakeroll-airflow-test-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

# Airflow reads these when it is imported, which is why they stand here and not in a fixture.
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(REPOSITORY / "plugins"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
)


ALONE = {"real_machines", "end_to_end", "alone"}
"""Markers of tests that want the machine for themselves: they boot machines or measure times."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--phase",
        choices=("all", "beside", "alone", "kills", "rollouts"),
        default="all",
        help="beside: tests that may run beside each other; alone: the others; kills and rollouts: those "
        "of `make kills` and `make rollouts`, which are in no other phase",
    )


@pytest.hookimpl(trylast=True)  # other conftest files mark their tests first
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    phase = config.getoption("--phase")
    chosen, others = [], []
    for item in items:
        (chosen if phase in {"all", _phase(item)} else others).append(item)
    items[:] = chosen
    config.hook.pytest_deselected(items=others)


def _phase(item: pytest.Item) -> str:
    marks = {mark.name for mark in item.iter_markers()}
    for own in ("kills", "rollouts"):
        if own in marks:
            return own
    return "alone" if marks & ALONE else "beside"


@pytest.fixture(scope="session")
def airflow_database():
    """Make Airflow's database."""
    from airflow.utils.db import initdb

    initdb()
