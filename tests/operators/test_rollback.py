"""The tasks of a rollback, above all one that fails: it says what state the fleets are in and what to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from bakeroll.core.errors import OwnershipLostError, RollbackError, RollbackHeldUpError
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.rollback import abandon
from bakeroll.hooks.account import AccountHook
from bakeroll.listeners.run_note import CAUSE, ROLLBACK
from bakeroll.operators.failures import EVIDENCE
from bakeroll.operators.rollback import (
    BeginRollbackOperator,
    DrainBackOperator,
    EndRollbackOperator,
    RestoreOperator,
)
from bakeroll.operators.rollout import FleetOperator
from sandbox.model.ports import CheckResult
from tests.core.rollout.harness import ledger
from tests.core.rollout.rollback.test_rollback import is_as_before, judged, sick_release
from tests.operators import test_steps
from tests.operators.test_steps import fleet_task, run_task

w = test_steps.w
WHY = "fleet web: only 0 of 2 in service"
GO_ON = (
    "Mend what is named, then clear this task or start a new run: both go on with the rollback; or deploy a "
    "mended version in its place, by a run with abandon_rollback"
)
REPLACE = (
    "What ran before cannot be brought back, neither by clearing this task nor by a new run: deploy a mended "
    "version in its place, by a run with abandon_rollback"
)
NOT_BEGUN = (
    "No rollback is noted in the journal yet, and nothing has gone back. Mend what is named, then clear this "
    "task, which begins it; a new run would go forward instead"
)
DENIED = "ClientError: An error occurred (AccessDenied) when calling the"


@pytest.fixture
def sick(w):
    """Release a version that never gets healthy, as far as `await_capacity`."""
    w.bad = sick_release(w)
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    w.settle()
    return w


@pytest.fixture
def going_back(sick):
    """Note that this is rolled back."""
    begin(sick)
    return sick


def back_context(pushed=None):
    """Return what `rollback.begin` needs to find the cause."""
    made = test_steps.context(pushed=pushed)
    failed = SimpleNamespace(task_id="web.wave_1.await_capacity")
    made["dag"].topological_sort = lambda: [failed]
    made["task"] = SimpleNamespace(upstream_task_ids={failed.task_id})
    made["ti"].xcom_pull = lambda task_ids, key: [WHY] if key == CAUSE else []
    return made


def begin(w, pushed=None):
    operator = BeginRollbackOperator(task_id="begin", environment_file=str(w.file))
    return operator.execute(back_context(pushed))


def task(w, kind, step=None, **kwargs):
    step = {"step": step} if step else {}
    return kind(task_id="t", environment_file=str(w.file), fleet="web", **step, **kwargs)


def restore(w):
    return task(w, RestoreOperator, "restore")


def close(w):
    return EndRollbackOperator(task_id="close", environment_file=str(w.file))


def failed(w, operator, kind, *, run=run_task, pushed=None):
    """Run a task that fails; returns its message, which is the cause as well."""
    kept = {} if pushed is None else pushed
    with pytest.raises(kind) as raised:
        run(w, operator, pushed=kept)
    assert kept[CAUSE] == str(raised.value)
    assert "\n" not in kept[CAUSE]
    return kept[CAUSE]


def says(w, said, *, why, next_step):
    """See the cause, then the state as it is now, then what to do."""
    now = w.picture()
    assert said.startswith(f"the rollback of production is not finished: {why}"), said
    state = (
        f". State: fleet web: {now.ready_count} of {len(now.counted)} instances serve; {len(now.current)} "
        f"are of the version that the group launches and {len(now.old)} are not; web launches version"
    )
    assert state in said, said
    assert f"; desired {now.desired}, MinSize {now.minimum}, MaxSize {now.maximum}" in said
    assert ("not given back yet: MinSize 2, MaxSize 2" in said) == (w.record().before is not None)
    assert said.endswith(f". {next_step}"), said


def test_a_rollback_by_tasks(sick):
    w, pushed = sick, {}
    assert begin(w) == {"cause": WHY, "fleets": ["web"]}
    chunks, _ = run_task(w, restore(w))
    for ids in chunks:
        drain = task(w, DrainBackOperator, instance_ids=ids)
        assert drain.title.startswith(f"rollback: {ids[0]}")
        run_task(w, drain)
    run_task(w, task(w, RestoreOperator, "verify_restored"))
    close(w).execute(test_steps.context(pushed=pushed))
    is_as_before(w, maximum=2)
    assert judged(w, w.bad) == "rejected"
    assert pushed[ROLLBACK].startswith("production: web is back at version 1, 2 of 2 serve")
    assert CAUSE not in pushed


def test_what_cannot_be_rolled_back_to(going_back):
    w = going_back
    w.clients.ec2.modify_launch_template(LaunchTemplateId=w.made.template_id, DefaultVersion="2")
    w.clients.ec2.delete_launch_template_versions(LaunchTemplateId=w.made.template_id, Versions=["1"])
    said = failed(w, restore(w), RollbackError)
    says(w, said, why="fleet web: version 1 of launch template", next_step=REPLACE)
    number = w.picture().template_version
    assert f"web launches version {number}, version 1 ran before" in said


def test_a_restore_that_waits_in_vain_gives_evidence_as_well(going_back):
    """Told by the task after its trigger's turn, in `resume`."""
    w, pushed = going_back, {}
    for one in w.picture().old:
        w.clients.ec2.terminate_instances(InstanceIds=[one.instance_id])
    w.settle(20)
    w.aws.hypervisor.default.check = CheckResult(healthy=False, reason="Target.Timeout", description="late")
    said = failed(w, restore(w), RollbackError, pushed=pushed)
    says(w, said, why="fleet web: only 0 of 2 in service, ", next_step=GO_ON)
    assert "Target.Timeout late" in pushed[EVIDENCE]["target health"]


def deny(w, action):
    return w.aws.faults.set(fault="error", action=action, code="AccessDenied", message="Not you.", status=403)


def test_begin_that_aws_refuses(sick):
    """Only once it is noted would a new run go on with the rollback."""
    w = sick
    number = deny(w, "s3:PutObject")
    said = failed(w, None, RollbackHeldUpError, run=lambda w, _none, pushed: begin(w, pushed))
    says(w, said, why=DENIED, next_step=NOT_BEGUN)
    assert w.ledger.peek().rollback is None
    w.aws.faults.clear(number)
    assert begin(w) == {"cause": WHY, "fleets": ["web"]}, "cleared, it does as it says"


@pytest.mark.parametrize("action", ["ec2:DescribeImages", "ec2:CreateTags"])
def test_an_image_that_aws_does_not_let_be_rejected_is_told_at_the_end(sick, action):
    w = sick
    number = deny(w, action)
    assert begin(w) == {"cause": WHY, "fleets": ["web"]}
    chunks, _ = run_task(w, restore(w))
    for ids in chunks:
        run_task(w, task(w, DrainBackOperator, instance_ids=ids))
    run_task(w, task(w, RestoreOperator, "verify_restored"))
    says(w, failed(w, close(w), RollbackHeldUpError, run=run_close), why=DENIED, next_step=GO_ON)
    w.aws.faults.clear(number)
    run_close(w, close(w), {})
    is_as_before(w, maximum=2)
    assert judged(w, w.bad) == "rejected"


def test_begin_that_has_nothing_to_do_is_skipped(w):
    pushed = {}
    with pytest.raises(AirflowSkipException):
        begin(w, pushed)
    assert pushed == {}


@pytest.mark.parametrize("action", ["autoscaling:UpdateAutoScalingGroup", "s3:PutObject"])
def test_restore_that_aws_refuses(going_back, action):
    w = going_back
    w.settle(100)  # the lease has to be renewed
    number = deny(w, action)
    said = failed(w, restore(w), RollbackHeldUpError)
    says(w, said, why=DENIED, next_step=GO_ON)
    w.aws.faults.clear(number)
    chunks, _ = run_task(w, restore(w))
    assert sum(map(len, chunks)) == 2, "cleared, it goes on"


@pytest.mark.parametrize(
    "action", ["ssm:ListCommandInvocations", "ssm:SendCommand", "autoscaling:CompleteLifecycleAction"]
)
def test_drain_that_aws_refuses(going_back, action):
    """Also where it fails before it has looked at what it drains."""
    w = going_back
    ((*ids,),), _ = run_task(w, restore(w))
    number = deny(w, action)
    said = failed(w, task(w, DrainBackOperator, instance_ids=ids), RollbackHeldUpError)
    says(w, said, why=DENIED, next_step=GO_ON)
    w.aws.faults.clear(number)
    run_task(w, task(w, DrainBackOperator, instance_ids=ids))
    assert not set(ids) & {one.instance_id for one in w.picture().instances}


@pytest.mark.parametrize("action", ["autoscaling:UpdateAutoScalingGroup", "autoscaling:ResumeProcesses"])
def test_verify_that_aws_refuses(going_back, action):
    w = going_back
    run_task(w, restore(w))
    number = deny(w, action)
    verify = task(w, RestoreOperator, "verify_restored")
    says(w, failed(w, verify, RollbackHeldUpError), why=DENIED, next_step=GO_ON)
    w.aws.faults.clear(number)
    run_task(w, verify)
    is_as_before(w, maximum=2)


def run_close(w, operator, pushed):
    operator.execute(test_steps.context(pushed=pushed))


@pytest.mark.parametrize("action", ["s3:PutObject", "s3:DeleteObject"])
def test_close_that_aws_refuses(going_back, action):
    w = going_back
    run_task(w, restore(w))
    run_task(w, task(w, RestoreOperator, "verify_restored"))
    number = deny(w, action)
    says(w, failed(w, close(w), RollbackHeldUpError, run=run_close), why=DENIED, next_step=GO_ON)
    w.aws.faults.clear(number)
    run_close(w, close(w), {})
    assert w.ledger.peek() is None


def broken_file(w):
    w.file.write_text(w.file.read_text().replace("region:", "reglon:"))


def no_connection(w):
    def get_conn(_self):
        raise AirflowNotFoundException("the conn_id `aws_default` isn't defined")

    w.monkeypatch.setattr(AccountHook, "get_conn", get_conn)


HINDRANCES = {
    "fleet": (lambda w: deny(w, "autoscaling:Describe*"), RollbackHeldUpError, DENIED),
    "journal": (lambda w: deny(w, "s3:GetObject"), RollbackHeldUpError, DENIED),
    "file": (broken_file, RollbackError, "production.yaml: region: is missing"),
    "connection": (no_connection, RollbackHeldUpError, "AirflowNotFoundException: the conn_id `aws_default`"),
}


@pytest.mark.parametrize("unseen", HINDRANCES)
@pytest.mark.parametrize("which", ["begin", "restore", "drain", "verify", "close"])
def test_where_nobody_can_look_the_task_says_so(going_back, monkeypatch, which, unseen):
    w = going_back
    w.monkeypatch = monkeypatch
    hinder, kind, why = HINDRANCES[unseen]
    operator, run = {
        "begin": (None, lambda w, _none, pushed: begin(w, pushed)),
        "restore": (restore(w), run_task),
        "drain": (task(w, DrainBackOperator, instance_ids=["i-1"]), run_task),
        "verify": (task(w, RestoreOperator, "verify_restored"), run_task),
        "close": (close(w), run_close),
    }[which]
    if which == "begin":
        w.ledger.update(lambda journal: journal.model_copy(update={"rollback": None}))
    hinder(w)
    said = failed(w, operator, kind, run=run)
    cause, state = said.split(". State: it could not be looked at: ")
    assert cause.startswith("the rollback of production is not finished: ")
    assert why in cause
    assert why in state
    assert state.endswith(". Mend what is named, then clear this task: it goes on where the rollback is")


def test_a_close_that_fails_after_its_work_says_that_it_is_done(going_back):
    w, pushed = going_back, {}
    run_task(w, restore(w))
    run_task(w, task(w, RestoreOperator, "verify_restored"))
    where = test_steps.context(pushed=pushed)
    push = where["ti"].xcom_push

    def push_all_but_the_end(key, value):
        if key == ROLLBACK:
            raise ConnectionError("Airflow's API does not answer")
        push(key, value)

    where["ti"].xcom_push = push_all_but_the_end
    with pytest.raises(RollbackHeldUpError):
        close(w).execute(where)
    assert pushed[CAUSE] == (
        "the rollback of production is not finished: ConnectionError: Airflow's API does not answer. "
        "The journal is closed: the rollback has ended, and there is nothing left to do"
    )


def test_a_task_that_is_cleared_after_the_rollback_was_given_up_sends_on_to_a_new_run(going_back):
    w = going_back
    abandon(w.clients, w.ledger, "production")
    none = "No rollback is noted in the journal, so there is none to go on with. Start a new run"
    says(w, failed(w, restore(w), RollbackError), why="production: nothing is being rolled", next_step=none)


def test_a_run_that_lost_the_journal_says_nothing_of_fleets_that_another_has_in_hand(going_back):
    w = going_back
    w.settle(100)
    w.run(Begin(ledger(w.aws, "run-2"), "production", alive=lambda _owner: False))
    said = failed(w, restore(w), OwnershipLostError)
    assert said == "production: dag/run-2 took the journal over (epoch 2); dag/run-1 does nothing more"
