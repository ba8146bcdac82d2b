"""What bakeroll adds to Airflow itself. `.airflowignore` keeps Airflow's plugin loader out of the package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from bakeroll.listeners import run_note


class BakerollPlugin(AirflowPlugin):
    """Writes the notes of deployments; the links of tasks need no plugin."""

    name = "bakeroll"
    listeners = [run_note]  # noqa: RUF012 - as Airflow's base class has it
