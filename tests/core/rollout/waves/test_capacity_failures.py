"""What new instances can fail of, and what the person who looks is told."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import CapacityError, FleetError
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from sandbox.model.ports import CheckResult, LaunchError
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import receipt, world


def raised(w):
    w.run(w.step(ScaleOut))
    return w


def test_unhealthy_new_instances_fail_when_time_is_up_with_the_targets_reason():
    w = world()
    image = w.release()
    w.aws.hypervisor.images[image] = Behaviour(
        answer=receipt,
        check=CheckResult(
            healthy=False,
            reason="Target.ResponseCodeMismatch",
            description="Health checks failed with these codes: [500]",
        ),
    )
    raised(w)
    began = w.aws.clock.now()
    with pytest.raises(CapacityError) as failure:
        w.run(w.step(AwaitCapacity))
    assert w.aws.clock.now() - began == pytest.approx(600, abs=5)
    assert "0 of 2 in service" in str(failure.value)
    assert "codes: [500]" in str(failure.value)
    assert w.picture().ready_count == 2


def test_a_deadline_is_not_started_again_by_a_retry():
    w = world()
    image = w.release()
    w.aws.hypervisor.images[image] = Behaviour(boot_seconds=5000)
    raised(w)
    for _ in range(2):
        with pytest.raises(CapacityError, match="0 of 2 in service, 2 booting after 600 s"):
            w.run(w.step(AwaitCapacity))


def test_a_missing_image_fails_at_once_with_awss_own_message():
    w = world()
    image = w.release()
    w.clients.ec2.deregister_image(ImageId=image)
    raised(w)
    began = w.aws.clock.now()
    with pytest.raises(CapacityError, match=rf"{image}.*does not exist"):
        w.run(w.step(AwaitCapacity))
    assert w.aws.clock.now() - began < 60


def test_a_capacity_shortage_is_waited_out(monkeypatch):
    w = world()

    def short(_spec):
        raise LaunchError(
            "InsufficientInstanceCapacity",
            "We currently do not have sufficient t3.micro capacity in the Availability Zone you requested",
        )

    monkeypatch.setattr(w.aws.records, "create", short)
    w.release()
    raised(w)

    def relent(w):
        if any("sufficient" in line for line in w.log):
            monkeypatch.undo()

    w.on_pass = relent
    w.run(w.step(AwaitCapacity))
    assert any("do not have sufficient" in line for line in w.log)
    assert w.picture().ready_current == 2


def test_new_instances_that_turn_unhealthy_hold_the_old_ones_back():
    w = world()
    image = w.release()
    raised(w)
    w.run(w.step(AwaitCapacity))
    w.aws.hypervisor.images[image] = Behaviour(
        answer=receipt, check=CheckResult(healthy=False, reason="Target.Timeout", description="timed out")
    )
    w.settle(20)
    with pytest.raises(CapacityError, match="old instances cannot be retired"):
        w.run(w.step(Retire))
    assert len(w.picture().old) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": "gone"}, "there is no Auto Scaling group gone"),
    ],
)
def test_a_missing_group_is_named(change, said):
    w = world()
    w.ledger.update_fleet("web", lambda record: record.model_copy(update=change))
    with pytest.raises(FleetError, match=said):
        w.run(w.step(ScaleOut))
