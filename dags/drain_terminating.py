"""Drain the instances that terminate outside deployments.

A scaling policy, a rebalance between zones, a failed health check or a person terminates instances too. Each
waits at its lifecycle hook until its log buffers are empty: a run drains all that wait in one environment,
with the same script and the same receipts as a deployment. What a live deployment retired is left to it.

**Runs** when AWS tells of a termination (EventBridge, SQS), which is a wake-up call that may get lost, and
every five minutes besides. Runs may overlap, and each takes only what no other is at: so one instance that is
stuck keeps no later ones waiting. Receipts are kept in the bucket, `drains/<environment>/<instance>.json`.

**Triage.** A red `drain` names each instance that it could not empty, and why; all others are through. It is
retained, its log buffers still on its disk (`Terminating:Retained`), or terminated, as `drain.on_failure`
says; one whose SSM agent does not answer is asked by the next runs first. docs/drains.md has each fault.

* `find`: no way into the account; the message says which connection or call.
* `drain`: the SSM agent does not answer, or the script says why Fluentd's buffers do not empty. Mend that.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    AssetWatcher,
    CronTriggerTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
)

from bakeroll.core.config import Environment, load_all
from bakeroll.core.errors import FinalError
from bakeroll.operators.terminations import DrainWaitingOperator, FindWaitingOperator
from bakeroll.triggers.terminations import TerminationsTrigger

ENVIRONMENTS = Path(__file__).parent / "environments"

EVERY_FIVE_MINUTES = "*/5 * * * *"
"""Events are delivered on a best-effort basis only; a hook's heartbeat timeout is longer than this."""
RUNS_AT_ONCE = 16
"""A run waits for no longer than one drain may take, and holds no worker while it waits."""
DEFAULTS = {
    "owner": "bakeroll",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=FinalError, action=RetryAction.FAIL)]),
}


def drain_terminating(name: str, environment: Environment) -> DAG:
    """Wire the drains of one environment."""
    facts = {"environment_file": str(ENVIRONMENTS / f"{name}.yaml")}
    terminations = Asset(
        f"terminations_{name}",
        watchers=[
            AssetWatcher(
                name=f"{name}-terminations",
                trigger=TerminationsTrigger(
                    queue_name=f"{name}-terminations",  # as terraform/modules/drain names it
                    account_id=environment.account_id,
                    region=environment.region,
                    aws_conn_id=environment.aws_conn_id,
                ),
            )
        ],
    )
    with DAG(
        f"drain_terminating_{name}",
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(EVERY_FIVE_MINUTES, timezone="UTC"), assets=[terminations]
        ),
        catchup=False,
        max_active_runs=RUNS_AT_ONCE,
        default_args=DEFAULTS,
        doc_md=__doc__,
        tags=["bakeroll", name],
    ) as dag:
        find = FindWaitingOperator(task_id="find", **facts)
        DrainWaitingOperator.partial(task_id="drain", map_index_template="{{ task.title }}", **facts).expand(
            chunk=find.output
        )
    return dag


for _name, _environment in load_all(ENVIRONMENTS)[0].items():
    globals()[f"drain_terminating_{_name}"] = drain_terminating(_name, _environment)
