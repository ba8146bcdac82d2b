"""Roll an environment to a new image, without a dropped request or a lost log line.

**Runs** by schedule, by the button, or by the API; a run of which nothing changed ends green after `plan`.

| parameter | meaning |
|---|---|
| `rebuild` | bake this layer although nothing changed, and all that are built on it |
| `application_ref` | deploy this branch, tag or commit instead of the environment's |
| `ami_id` | deploy this existing application image, bake nothing |
| `pause` | ask a person between waves whether to go on; a fleet with one wave has no such moment |
| `replace` | replace every instance that is there when the run begins, though nothing changed |
| `allow_destroy` | let the plan destroy or replace what serves |
| `deploy_rejected` | deploy an image although it was rejected here |
| `abandon_rollback` | leave a rollback that could not be finished, and deploy in its place |

**Triage.** The note of a red run says in one sentence why. There are two kinds:

* The group `rollback` is skipped: it failed before `apply` changed anything. Mend the cause, then clear the
  red task or start a new run.
* It failed at `apply` or later: `rollback` brings back what ran before, and rejects the image. Its `close`
  says so; the task that failed has the evidence, in its log and its XCom `evidence`. Start a new run, which
  reuses what is baked: a task that is cleared finds no journal any more. The same content is not deployed
  until it changes or `deploy_rejected` is set. If a task of `rollback` is red too, its last line says what
  state the fleets are in: mend that and clear it, or start a new run, which goes on with the rollback.

A run that was cut off or marked failed leaves its journal: the next goes on where it was. To stop a rollout
and have it rolled back, mark a task failed, not the run. docs/rollback.md, docs/runs.md.

* `begin`: another run holds the journal, or has left a rollback that this one finishes; the message says so.
* `bake_*`: Packer's and Ansible's output is in the log, the failing task last.
* `plan`, `apply`: Terraform's own diagnostics; a foreign lock is named with its holder. An `apply` that
  was cut off and is tried again applies what is left of its plan. If there is more to do, that is named.
* `await_capacity`: AWS's reason (scaling activity, target health, console output). Old instances serve on.
* `gate`: what a new instance, an alarm or the application said against the version. Old instances serve on.
* `proceed`: a person aborted between two waves, or did not answer within a day.
* `drain`: an instance that cannot be drained is retained, its log buffer still on its disk
  (`Terminating:Retained`), or terminated, as `drain.on_failure` says; that holds nothing up. docs/drains.md.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TaskGroup

from bakeroll.core.config import Environment, load_all
from bakeroll.core.errors import FinalError
from bakeroll.graphs.fleet import SKIPPED_IS_FINE, roll_fleet
from bakeroll.graphs.rollback import roll_back
from bakeroll.operators.approval import ApprovePlanOperator
from bakeroll.operators.journal import BeginOperator, CloseOperator, ReleaseOperator
from bakeroll.operators.layers import BakeLayerOperator, DecideLayersOperator
from bakeroll.operators.rollout import FleetOperator
from bakeroll.operators.terraform import ApplyOperator, PlanOperator

ENVIRONMENTS = Path(__file__).parent / "environments"
LAYERS = ("base", "application_base", "application")

PARAMS = {
    "rebuild": Param(
        "none", enum=["none", *reversed(LAYERS)], description="Bake this layer and all upon it."
    ),
    "application_ref": Param(None, type=["null", "string"], description="Branch, tag or commit to deploy."),
    "ami_id": Param(
        None,
        type=["null", "string"],
        pattern="^ami-[0-9a-f]+$",
        description="Deploy this image, bake nothing.",
    ),
    "pause": Param(False, type="boolean", description="Ask a person between waves whether to go on."),
    "replace": Param(False, type="boolean", description="Replace all instances, though nothing changed."),
    "allow_destroy": Param(False, type="boolean", description="Let the plan destroy or replace what serves."),
    "deploy_rejected": Param(False, type="boolean", description="Deploy an image that was rejected here."),
    "abandon_rollback": Param(
        False, type="boolean", description="Leave a rollback that could not be finished, and deploy."
    ),
}
DEFAULTS = {
    "owner": "bakeroll",
    "retries": 2,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": ExceptionRetryPolicy(rules=[RetryRule(exception=FinalError, action=RetryAction.FAIL)]),
}


def rolling_deployment(name: str, environment: Environment) -> DAG:
    """Wire the deployment of one environment."""
    facts = {"environment_file": str(ENVIRONMENTS / f"{name}.yaml")}
    with DAG(
        f"rolling_deployment_{name}",
        schedule=environment.schedule,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        params=PARAMS,
        doc_md=__doc__,
        tags=["bakeroll", name],
    ) as dag:
        begin = BeginOperator(task_id="begin", **facts)
        with TaskGroup("layers"):
            decide = DecideLayersOperator(
                task_id="decide",
                branches={layer: f"layers.bake_{layer}" for layer in LAYERS},
                otherwise="terraform.plan",
                **facts,
            )
            baked: dict[str, BakeLayerOperator] = {}
            for layer, parent in zip(LAYERS, (None, *LAYERS), strict=False):
                baked[layer] = BakeLayerOperator(
                    task_id=f"bake_{layer}",
                    layer=layer,
                    decisions=decide.output,
                    baked_before=baked[parent].output if parent else None,
                    trigger_rule=SKIPPED_IS_FINE,
                    **facts,
                )
        with TaskGroup("terraform"):
            plan = PlanOperator(
                task_id="plan",
                decisions=decide.output,
                baked=baked["application"].output,
                trigger_rule=SKIPPED_IS_FINE,
                **facts,
            )
            apply = ApplyOperator(task_id="apply", plan=plan.output, **facts)
            if environment.approval:
                approve = ApprovePlanOperator(task_id="approve", environment=name)
                plan >> approve >> apply
        verified: dict[str, FleetOperator] = {}
        for fleet, settings in environment.fleets.items():
            first, verified[fleet] = roll_fleet(fleet, settings, facts)
            apply >> first
        release = ReleaseOperator(
            task_id="release",
            fleets={fleet: verify.output for fleet, verify in verified.items()},
            **facts,
        )
        roll_back(list(environment.fleets), facts, [begin, apply, *apply.get_flat_relatives(upstream=False)])
        close = CloseOperator(task_id="close", trigger_rule="none_failed", **facts)
        begin >> decide
        release >> close
    return dag


for _name, _environment in load_all(ENVIRONMENTS)[0].items():
    globals()[f"rolling_deployment_{_name}"] = rolling_deployment(_name, _environment)
