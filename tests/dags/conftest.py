"""Loads DAG files as Airflow's DAG processor does."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def load(airflow_database):
    """Return a function that loads a folder of DAG files."""
    from airflow.dag_processing.dagbag import DagBag

    return lambda folder: DagBag(str(folder), bundle_path=Path(folder))


@pytest.fixture(scope="session")
def bag(load):
    """Return the repository's DAGs."""
    return load(Path(__file__).parents[2] / "dags")
