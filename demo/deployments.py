"""One deployment of the demo: trigger it through Airflow, watch it, and note all that the table shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from demo import watch
from demo.account import LAYERS, Account
from demo.airflow_client import AirflowClient, Task
from demo.log_lines import Comparison
from demo.settings import DAG_ID

BAKES = {layer: f"layers.bake_{layer}" for layer in LAYERS}
DECIDE = "layers.decide"
#: The XCom of `layers.decide` that says of each layer why it is baked or reused.
DECISIONS = "return_value"
#: What must not run when nothing has changed.
CHANGING = ("layers.bake_", "terraform.approve", "terraform.apply", "web.", "release")


@dataclass(frozen=True)
class Layer:
    """What became of one layer in one run."""

    baked: bool
    image_id: str
    reason: str


@dataclass
class Deployment:
    """What one run of the DAG did, and what was served meanwhile.

    :param steps: task -> seconds from start to end; of mapped ones, from the first start to the last end.
    """

    number: int
    title: str
    run_id: str
    succeeded: bool
    seconds: float
    layers: dict[str, Layer]
    steps: dict[str, float]
    ran: frozenset[str]
    replaced: int
    instances: int
    image_ids: frozenset[str]
    sent: int = 0
    failures: tuple[str, ...] = ()
    lines: Comparison | None = None
    versions: dict[str, set[str]] = field(default_factory=dict)

    @property
    def changed(self) -> tuple[str, ...]:
        """Name the tasks that ran and change something."""
        return tuple(sorted(task for task in self.ran if task.startswith(CHANGING)))


def deploy(
    client: AirflowClient, account: Account, number: int, title: str, say: Callable[[str], None]
) -> Deployment:
    """Run the DAG once and describe what it did.

    :param client: Airflow's API.
    :param account: the account it deploys in.
    :param number: which of the demo's runs this is.
    :param title: what is special about it.
    :param say: takes a progress line.
    :raises DemoError: if it does not end.
    """
    before = {each.instance_id for each in account.instances()} if account.has_fleet() else set()
    run_id = client.trigger(DAG_ID, {})
    say(f"run {number}, {title}: {run_id}")
    run, tasks = watch.follow(client, DAG_ID, run_id, say)
    after = account.instances() if account.has_fleet() else []
    ids = {each.instance_id for each in after}
    ran = frozenset(task.task_id for task in tasks if task.state == "success")
    return Deployment(
        number=number,
        title=title,
        run_id=run_id,
        succeeded=run.state == "success",
        seconds=run.duration_seconds or 0.0,
        layers=layers(client, account, run_id, ran),
        steps=steps(tasks),
        ran=ran,
        replaced=len(before - ids),
        instances=sum(each.healthy for each in after),
        image_ids=frozenset(each.image_id for each in after),
    )


def layers(client: AirflowClient, account: Account, run_id: str, ran: frozenset[str]) -> dict[str, Layer]:
    """Tell of each layer whether it was baked, why, and which image it has now.

    :param client: Airflow's API.
    :param account: the account with the images.
    :param run_id: the run.
    :param ran: the tasks that succeeded.
    """
    decisions = client.xcom(DAG_ID, run_id, DECIDE, DECISIONS)
    decided = decisions["layers"] if decisions else []
    reasons = {each["layer"]: "; ".join(each["reasons"]) for each in decided}
    image_ids = account.image_ids()
    return {
        layer: Layer(BAKES[layer] in ran, image_ids.get(layer, "no image"), reasons.get(layer, "not decided"))
        for layer in LAYERS
    }


def steps(tasks: list[Task]) -> dict[str, float]:
    """Give the duration of each task that ran, in the order of their starts.

    :param tasks: all task instances of a run.
    """
    times: dict[str, tuple[datetime, datetime]] = {}
    for task in tasks:
        if task.state == "success" and task.start and task.end:
            start, end = times.get(task.task_id, (task.start, task.end))
            times[task.task_id] = (min(start, task.start), max(end, task.end))
    ordered = sorted(times.items(), key=lambda each: each[1])
    return {task_id: (end - start).total_seconds() for task_id, (start, end) in ordered}
