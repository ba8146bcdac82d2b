"""The cause of a failure, which the note of the run repeats: kept by every task, wherever in it it fails."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException, TaskDeferralError

from bakeroll.core.errors import ConfigError, PlanError, PreflightError, RejectedError, RolledBackError
from bakeroll.core.layers.decisions import Decisions, LayerDecision
from bakeroll.core.rollout.preflight import environment_check
from bakeroll.core.rollout.preflight.headroom import Findings
from bakeroll.core.rollout.rollback import BeginRollback
from bakeroll.core.terraform import Plan
from bakeroll.hooks.account import AccountHook
from bakeroll.listeners.run_note import CAUSE
from bakeroll.listeners.run_note import KEY as RUN_NOTE
from bakeroll.operators import journal, terraform
from bakeroll.operators.base import DeploymentOperator
from bakeroll.operators.failures import sentence
from bakeroll.operators.journal import BeginOperator, CloseOperator, ReleaseOperator
from bakeroll.operators.layers import BakeLayerOperator, DecideLayersOperator
from bakeroll.operators.rollback import RestoreOperator
from bakeroll.operators.rollout import FleetOperator
from bakeroll.operators.terraform import PlanOperator
from tests.operators import test_steps
from tests.operators.test_steps import context, fleet_task

w = test_steps.w
LAYERS = tuple(LayerDecision(one, True, ("new",), "f") for one in ("base", "application_base", "application"))
DECISIONS = Decisions(LAYERS, "ami-0", "0123456789abcdef0123").to_json()


def cause(operator, params=None):
    """Run a task that fails; returns the cause that it leaves."""
    pushed = {}
    given = context(pushed=pushed)
    given["params"] = params or {}
    with pytest.raises(Exception, match=r"."):
        operator.execute(given)
    return pushed[CAUSE]


class Refusing:
    """Terraform that cannot be run."""

    def outputs(self):
        """Refuse."""
        raise PlanError("production: the state cannot be read; look at the bucket")

    def plan(self, *_, **__):
        """Refuse."""
        raise PlanError("production: the plan destroys web; set allow_destroy")


@pytest.fixture
def refusing(monkeypatch):
    for module in (journal, terraform):
        monkeypatch.setattr(module, "terraform", lambda _deployment, _say: Refusing())


def test_begin_leaves_the_cause_whatever_in_it_failed(w, refusing):
    begin = BeginOperator(task_id="begin", environment_file=str(w.file))
    assert cause(begin) == "production: the state cannot be read; look at the bucket"
    w.file.write_text(w.file.read_text().replace("123456789012", "999999999999"))
    assert "belong to account 123456789012" in cause(begin)
    w.file.write_text("region: nowhere\n")
    assert cause(begin).startswith(f"{w.file}: ")
    assert " more)" in cause(begin)


def test_a_plan_that_is_refused_leaves_the_cause(w, refusing):
    image = w.aws.image("application", {})
    baked = {"layer": "application", "image_id": image}
    plan = PlanOperator(task_id="plan", environment_file=str(w.file), decisions=DECISIONS, baked=baked)
    said = cause(plan, {"allow_destroy": False})
    assert said == "production: the plan destroys web; set allow_destroy"


@pytest.mark.parametrize("names", [["web", "worker"], ["worker"], []])
def test_a_fleet_that_only_terraform_or_only_the_file_has_is_found_by_the_plan(w, monkeypatch, names):
    """Found after the apply, its group would serve already, and no rollback would know of it."""
    found = Plan("production", (), (), {}, fleets=frozenset(names))
    planning = SimpleNamespace(plan=lambda *_, **__: found)
    monkeypatch.setattr(terraform, "terraform", lambda _deployment, _say: planning)
    baked = {"layer": "application", "image_id": w.aws.image("application", {})}
    plan = PlanOperator(task_id="plan", environment_file=str(w.file), decisions=DECISIONS, baked=baked)
    said = cause(plan, {"allow_destroy": False})
    assert said.startswith("production: dags/environments/production.yaml has the fleets web, Terraform's ")
    assert said.endswith("in terraform/environments/production/terraform.tfvars, then start a new run")


def test_bakes_and_close_leave_the_cause(w):
    w.ledger.update(lambda opened: opened.model_copy(update={"owner": "dag/run-2"}))
    bake = BakeLayerOperator(task_id="bake", environment_file=str(w.file), layer="base", decisions=DECISIONS)
    assert "run-2" in cause(bake)
    w.clients.s3.put_object(Bucket=test_steps.BUCKET, Key=w.ledger.key, Body=b"{}")
    close = CloseOperator(task_id="close", environment_file=str(w.file))
    assert "journal" in cause(close)


def test_a_release_without_an_apply_says_what_to_do(w):
    release = ReleaseOperator(task_id="release", environment_file=str(w.file), fleets={})
    said = cause(release)
    assert said.startswith("production: the journal names no image")
    assert said.endswith("nothing is released; start a new run")


@pytest.mark.parametrize("gone", [False, True])
def test_a_rollback_that_cannot_be_finished_says_what_helps(w, gone):
    w.ledger.update(lambda opened: opened.model_copy(update={"image_id": "ami-2", "apply_epoch": 1}))
    w.run(BeginRollback(w.clients, w.ledger, "production", cause=lambda: "web is sick"))
    record = w.ledger.read().fleets["web"]
    if gone:
        template = record.launch_template_id
        w.clients.ec2.modify_launch_template(LaunchTemplateId=template, DefaultVersion="2")
        w.clients.ec2.delete_launch_template_versions(LaunchTemplateId=template, Versions=["1"])
    else:
        w.file.write_text(w.file.read_text().replace("  web:", "  worker:"))
    said = cause(RestoreOperator(task_id="t", step="restore", environment_file=str(w.file), fleet="web"))
    assert said.startswith("the rollback of production is not finished: ")
    helps = "clear this task or start a new run: both go on with the rollback"
    assert (helps in said) == (not gone)
    assert ("neither by clearing this task nor by a new run" in said) == gone
    assert "abandon_rollback" in said


def test_a_connection_that_is_missing_and_a_trigger_that_failed_are_causes(w, monkeypatch):
    operator = fleet_task(w, FleetOperator, "scale_out")
    pushed = {}
    with pytest.raises(TaskDeferralError):
        operator.resume_execution("__fail__", {"error": "the trigger died"}, context(pushed=pushed))
    assert pushed[CAUSE] == "TaskDeferralError: the trigger died"

    def missing(_self):
        raise AirflowNotFoundException("The conn_id `aws_default` isn't defined")

    monkeypatch.setattr(AccountHook, "get_conn", missing)
    said = cause(BeginOperator(task_id="begin", environment_file=str(w.file)))
    assert said == "AirflowNotFoundException: The conn_id `aws_default` isn't defined"


@pytest.mark.parametrize("end", [AirflowSkipException("nothing to do"), RolledBackError("goes back")])
def test_what_is_no_cause_is_not_kept(w, end):
    class Ends(DeploymentOperator):
        def work(self, context):
            raise end

    pushed = {}
    with pytest.raises(type(end)):
        Ends(task_id="t", environment_file=str(w.file)).execute(context(pushed=pushed))
    assert pushed == {}


def test_no_task_of_a_deployment_goes_round_it():
    known = [DeploymentOperator]
    for operator in known:
        known += operator.__subclasses__()
    ours = [one for one in known[1:] if one.__module__.startswith("bakeroll.")]
    assert len(ours) > 10
    for operator in ours:
        assert "execute" not in vars(operator), operator
        assert "resume_execution" not in vars(operator), operator


@pytest.mark.parametrize(
    ("problems", "said"),
    [
        (["fleet web: it has a warm pool"], "production: fleet web: it has a warm pool. Nothing was changed"),
        (["fleet web: one", "fleet web: two"], "production: fleet web: one (and 1 more)"),
        (["fleet web: one", "two", "three"], "production: fleet web: one (and 2 more)"),
    ],
)
def test_of_several_problems_the_first_is_told(problems, said):
    with pytest.raises(PreflightError) as refusal:
        environment_check.insist("production", Findings(problems, []))
    assert sentence(refusal.value) == said


def test_errors_of_other_kinds_are_told_by_their_first_line():
    assert sentence(ConfigError("a: b\nc: d")) == "a: b (and 1 more)"
    assert sentence(PlanError("refused\nwith details")) == "refused"
    assert sentence(ValueError("no")) == "ValueError: no"
    assert sentence(ValueError()) == "ValueError: "


def test_an_image_that_was_rejected_is_no_failure_and_is_said(w):
    """It is the note's line, and what a CI job takes its status from."""
    skipped = []

    class Decides(DecideLayersOperator):
        def bakery(self, deployment):
            def decide(**_):
                raise RejectedError("production: image ami-3 was rejected here")

            return SimpleNamespace(tidy=lambda: None, decide=decide)

        def do_branch(self, context, branches_to_execute):
            skipped.append(branches_to_execute)

    pushed = {}
    given = context(pushed=pushed)
    params = {"rebuild": "none", "application_ref": None, "ami_id": None, "deploy_rejected": False}
    given["params"] = params
    Decides(task_id="decide", environment_file=str(w.file), branches={}, otherwise="x").execute(given)
    assert (pushed, skipped) == ({RUN_NOTE: "production: image ami-3 was rejected here"}, [None])
