"""Drains outside deployments as Airflow tasks: `find` looks, `drain` acts, defers and goes on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bakeroll.core.errors import AccountError, DrainError
from bakeroll.core.terraform import FleetOutput
from bakeroll.operators import base
from bakeroll.operators.terminations import DrainWaitingOperator, FindWaitingOperator
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import DOCUMENT
from tests.operators.test_steps import context, run_task, w  # noqa: F401 - the fixture


@pytest.fixture(autouse=True)
def virtual_pauses(w, monkeypatch):  # noqa: F811
    monkeypatch.setattr(base, "time", SimpleNamespace(sleep=w.aws.clock.advance, time=w.aws.clock.now))


def deployed(w):  # noqa: F811
    """Leave what a deployment leaves: the fleets in the bucket, the journal closed."""
    operator = find(w)
    made = FleetOutput(w.made.group, w.made.template_id, w.made.hook, DOCUMENT)
    operator.deployment(context()).remember_fleets({"web": made})
    w.ledger.close()


def find(w):  # noqa: F811
    return FindWaitingOperator(task_id="find", environment_file=str(w.file))


def drain(w, chunk):  # noqa: F811
    return DrainWaitingOperator(task_id="drain", environment_file=str(w.file), chunk=chunk)


def terminate(w, count=1):  # noqa: F811
    ids = [one.instance_id for one in w.picture().instances][:count]
    for instance_id in ids:
        w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
            InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
        )
    w.settle(15)
    return ids


def test_what_waits_is_found_and_drained_without_holding_a_worker(w):  # noqa: F811
    deployed(w)
    assert find(w).execute(context()) == []
    (gone,) = terminate(w)
    (chunk,) = find(w).execute(context())
    assert chunk == {"fleet": "web", "instance_ids": [gone]}
    w.aws.hypervisor.default.command_seconds = 60
    operator = drain(w, chunk)
    assert operator.title == f"web: {gone}"
    receipts, waited = run_task(w, operator)
    assert waited >= 1
    assert [one["instance_id"] for one in receipts] == [gone]
    (command,) = w.clients.ssm.list_commands()["Commands"]
    assert command["Parameters"]["StopUnits"] == ["web.service"], "as the environment file says"
    w.settle()
    assert find(w).execute(context()) == []


def test_a_short_flush_needs_no_trigger(w):  # noqa: F811
    deployed(w)
    terminate(w)
    (chunk,) = find(w).execute(context())
    receipts, waited = run_task(w, drain(w, chunk))
    assert (len(receipts), waited) == (1, 0)


def test_before_the_first_deployment_nothing_is_asked(w):  # noqa: F811
    w.ledger.close()
    terminate(w)
    before = w.wire.count("autoscaling", "DescribeAutoScalingGroups")
    assert find(w).execute(context()) == []
    assert w.wire.count("autoscaling", "DescribeAutoScalingGroups") == before


def test_one_that_fails_is_told_when_all_others_are_through(w):  # noqa: F811
    deployed(w)
    bad, good = terminate(w, 2)
    w.aws.hypervisor.instances[bad] = Behaviour(agent_online=False)
    (chunk,) = find(w).execute(context())
    operator = drain(w, chunk)
    assert operator.title.endswith(" and 1 more")
    with pytest.raises(DrainError, match=f"1 of 2 drained. {bad}: its SSM agent does not answer"):
        run_task(w, operator)
    w.settle()
    assert good not in {one.instance_id for one in w.picture().instances}
    assert find(w).execute(context()) == [{"fleet": "web", "instance_ids": [bad]}]


def test_another_account_is_refused(w):  # noqa: F811
    deployed(w)
    w.file.write_text(w.file.read_text().replace("123456789012", "999999999999"))
    with pytest.raises(AccountError, match="belong to account 123456789012"):
        find(w).execute(context())
