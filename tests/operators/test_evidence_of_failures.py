"""What a task that failed leaves: its cause and the evidence, in its log and as XComs."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from bakeroll.core.errors import CapacityError, FleetError, GateError
from bakeroll.listeners.run_note import CAUSE
from bakeroll.operators.failures import EVIDENCE, explained
from bakeroll.operators.rollout import DrainOperator, FleetOperator
from bakeroll.sensors.capacity import CapacitySensor
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.drains.support import behave, fails
from tests.core.rollout.harness import receipt
from tests.operators.test_steps import context, fleet_task, run_task, w, watched  # noqa: F401 - the fixture

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
SHORT = "We currently do not have sufficient t3.micro capacity"


def failed(w, operator, error):  # noqa: F811
    """Run a task that fails; returns what it left."""
    pushed = {}
    with pytest.raises(error) as raised:
        run_task(w, operator, pushed=pushed)
    assert pushed[CAUSE] == str(raised.value)
    return pushed


def new(w):  # noqa: F811
    return [one.instance_id for one in w.picture().current]


def fall_sick(w, ids):  # noqa: F811
    for instance_id in ids:
        w.aws.hypervisor.instances[instance_id] = Behaviour(answer=receipt, check=SICK)


def test_instances_that_never_serve_leave_target_health_and_a_console(w, capsys):  # noqa: F811
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    fall_sick(w, new(w))
    w.aws.hypervisor.default.check = SICK  # also those that AWS launches in their place
    pushed = failed(w, fleet_task(w, CapacitySensor), CapacityError)
    evidence = pushed[EVIDENCE]
    (console,) = (kind for kind in evidence if kind.startswith("console of "))
    instance_id = console.removeprefix("console of ")
    assert instance_id in new(w)
    assert evidence[console] == f"virtual machine {instance_id}"
    assert f"{instance_id} unhealthy: Target.ResponseCodeMismatch codes: [500]" in evidence["target health"]
    log = capsys.readouterr().out
    for kind, text in evidence.items():
        assert kind in log
        assert text.splitlines()[0] in log


def test_launches_that_fail_leave_the_scaling_activity(w):  # noqa: F811
    w.aws.faults.set(fault="launch-failure", code="InsufficientInstanceCapacity", message=SHORT)
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    pushed = failed(w, fleet_task(w, CapacitySensor), CapacityError)
    assert pushed[EVIDENCE] == {"scaling activities": f"{SHORT}. Launching EC2 instance failed."}


def test_a_gate_that_stays_shut_leaves_the_reason_of_the_target(w):  # noqa: F811
    gate = watched(w, "{soak: 90s}")
    sick = new(w)[0]
    w.aws.clock.call_later(30, lambda: fall_sick(w, [sick]))
    pushed = failed(w, gate, GateError)
    assert pushed[EVIDENCE]["target health"] == f"{sick} unhealthy: Target.ResponseCodeMismatch codes: [500]"


def test_a_drain_that_failed_is_told_by_the_task_that_fails_after_it(w):  # noqa: F811
    """A drain that fails does not fail its task, so what its script said is found with the next failure."""
    run_task(w, fleet_task(w, FleetOperator, "scale_out"))
    run_task(w, fleet_task(w, CapacitySensor))
    (ids,), _ = run_task(w, fleet_task(w, FleetOperator, "retire"))
    behave(w, ids[:1], **fails("connection refused"))
    run_task(w, fleet_task(w, DrainOperator, instance_ids=ids))
    w.aws.hypervisor.default.check = SICK
    fall_sick(w, new(w))
    w.settle(20)
    pushed = failed(w, fleet_task(w, FleetOperator, "verify"), FleetError)
    assert pushed[EVIDENCE][f"command on {ids[0]}"] == "Failed\nconnection refused"


def test_an_aws_error_is_named_as_the_cause(w):  # noqa: F811
    w.aws.faults.set(
        fault="error", action="autoscaling:Update*", code="AccessDenied", message="No.", status=403
    )
    pushed = {}
    with pytest.raises(ClientError):
        run_task(w, fleet_task(w, FleetOperator, "scale_out"), pushed=pushed)
    assert pushed[CAUSE].startswith("ClientError: An error occurred (AccessDenied)")
    assert EVIDENCE not in pushed, "there is no new instance yet, and none that AWS says anything of"


def test_evidence_that_cannot_be_gathered_hides_no_failure():
    """Else a final failure would be one of AWS, and be tried again."""
    pushed, told = {}, []

    def denied():
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "No."}}, "GetObject")

    with pytest.raises(CapacityError), explained(context(pushed=pushed), told.append, denied):
        raise CapacityError("fleet web: only 0 of 2 in service")
    assert pushed[CAUSE] == "fleet web: only 0 of 2 in service"
    why = "it could not be gathered: ClientError: An error occurred (AccessDenied) when calling the GetObject"
    assert pushed[EVIDENCE]["evidence"].startswith(why)
    assert told[0].startswith(f"evidence:\n{why}")
