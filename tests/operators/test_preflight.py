"""The tasks that refuse a rollout before anything moves."""

from __future__ import annotations

import time

import pytest

from bakeroll.core.errors import PreflightError
from bakeroll.hooks.account import AccountHook
from bakeroll.operators import journal, terraform
from bakeroll.operators.journal import BeginOperator
from bakeroll.operators.terraform import ApplyOperator
from tests.core.rollout.harness import BUCKET, DOCUMENT, wired_world
from tests.operators.test_steps import FILE, context


class AppliedOnce:
    """Terraform in front of a state that has the fleet; it counts what it is asked for."""

    def __init__(self, made):
        self._made = made
        self.applied = 0

    def outputs(self):
        """Return the outputs as `terraform output` gives them."""
        fleet = {
            "autoscaling_group": self._made.group,
            "launch_template_id": self._made.template_id,
            "termination_hook": self._made.hook,
            "drain_document": DOCUMENT,
        }
        return {"fleets": {"web": fleet}}

    def apply(self, _location, _variables):
        """Count."""
        self.applied += 1
        return self.outputs()


@pytest.fixture
def w(monkeypatch, tmp_path):
    """Make a fleet behind the wire, where quotas can be read, and the state that Terraform keeps of it."""
    made = wired_world(2, maximum=4, heartbeat_seconds=900, default_result="ABANDON")
    monkeypatch.setattr(AccountHook, "get_conn", lambda _self: made.clients)
    monkeypatch.setattr(time, "time", made.aws.clock.now)
    made.terraform = AppliedOnce(made.made)
    for module in (journal, terraform):
        monkeypatch.setattr(module, "terraform", lambda _deployment, _say: made.terraform)
    folder = tmp_path / "dags" / "environments"
    folder.mkdir(parents=True)
    made.file = folder / "production.yaml"
    made.file.write_text(FILE % BUCKET)
    return made


def begin(w):
    return BeginOperator(task_id="begin", environment_file=str(w.file)).execute(context())


def changes(w):
    """Return what was called that changes anything but the bucket."""
    rows = w.aws.calls.table()
    looks = ("Describe", "Get", "List", "Head")
    return [row["action"] for row in rows if row["service"] != "s3" and not row["action"].startswith(looks)]


def test_begin_refuses_what_cannot_be_rolled_and_changes_nothing(w):
    begin(w)
    w.clients.autoscaling.put_warm_pool(AutoScalingGroupName=w.made.group, MinSize=1)
    w.clients.ssm.delete_document(Name=DOCUMENT)
    w.settle()
    w.aws.calls.clear()
    with pytest.raises(
        PreflightError, match=r"production: 2 things .*\n- fleet web: web has a warm pool.*\n- "
    ):
        begin(w)
    assert changes(w) == []


def test_begin_says_what_is_worth_knowing_and_goes_on(w, capsys):
    w.aws.cloud.quotas.clear()
    begin(w)
    assert "targets per target group (L-A0D0B863) not looked at" in capsys.readouterr().out


def test_apply_looks_once_more_before_it_applies(w):
    begin(w)
    w.clients.autoscaling.suspend_processes(AutoScalingGroupName=w.made.group, ScalingProcesses=["Launch"])
    w.aws.calls.clear()
    plan = {"image_id": "ami-2", "location": None}
    with pytest.raises(PreflightError, match="production: fleet web: web has Launch suspended"):
        ApplyOperator(task_id="apply", plan=plan, environment_file=str(w.file)).execute(context())
    assert (changes(w), w.terraform.applied) == ([], 0)
    opened = w.ledger.peek()
    assert opened is not None
    assert opened.image_id is None, "nothing is said to be applied, so there is nothing to roll back"
