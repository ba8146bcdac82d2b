"""The graph of a rollback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from airflow.sdk import TaskGroup

from bakeroll.graphs.fleet import SKIPPED_IS_FINE
from bakeroll.operators.rollback import (
    BeginRollbackOperator,
    DrainBackOperator,
    EndRollbackOperator,
    RestoreOperator,
)


def roll_back(fleets: Iterable[str], facts: dict[str, str], after: Sequence[Any]) -> None:
    """Wire the rollback of all fleets.

    No task of the deployment comes after it: so the last of those, which it leaves without having run, keep
    the run red although the rollback went well.

    :param after: the tasks of which one has to fail for it. Each stands before it directly, so that it begins
        within a second, and not when the last of them has been given up.
    """
    with TaskGroup("rollback"):
        begin = BeginRollbackOperator(task_id="begin", trigger_rule="one_failed", **facts)
        close = EndRollbackOperator(task_id="close", trigger_rule=SKIPPED_IS_FINE, **facts)
        for fleet in fleets:
            with TaskGroup(fleet):
                restore = RestoreOperator(task_id="restore", step="restore", fleet=fleet, **facts)
                drain = DrainBackOperator.partial(
                    task_id="drain",
                    fleet=fleet,
                    map_index_template="{{ task.title }}",
                    **facts,
                ).expand(instance_ids=restore.output)
                verify = RestoreOperator(
                    task_id="verify",
                    step="verify_restored",
                    fleet=fleet,
                    trigger_rule=SKIPPED_IS_FINE,
                    **facts,
                )
            begin >> restore
            [restore, drain] >> verify >> close
        begin >> close
    list(after) >> begin
