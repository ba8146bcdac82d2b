"""What a rollout terminated waits for its drain, however long that is in coming."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import CapacityError
from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.rollback import BeginRollback, Restore
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from bakeroll.core.steps import Act, Done
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import CAPACITY_TIMEOUT, World, receipt, world

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
HOOK_SECONDS = 400
"""Less than a step may wait (``capacity_timeout``), as with the defaults."""


def beats(w: World) -> int:
    assert w.wire is not None
    return w.wire.count("autoscaling", "RecordLifecycleActionHeartbeat")


def turns_sick_while_retiring() -> tuple[World, str]:
    """Roll until two of six old instances are terminated; the new ones serve no more then."""
    w = world(
        6,
        maximum=12,
        heartbeat_seconds=HOOK_SECONDS,
        deregistration_delay_seconds=60,
        group={"HealthCheckType": "EC2"},
    )
    lifecycle_actions.keep_abandoned(w.clients, "web")
    image_id = w.release()
    w.ledger.update(
        lambda journal: journal.model_copy(update={"image_id": image_id, "apply_epoch": journal.epoch})
    )
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))

    def sicken(w: World) -> None:
        if sum(line.startswith("terminate i-") for line in w.log) == 2:
            w.on_pass = None
            w.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, check=SICK)
            w.floor = 0
            w.settle(20)

    w.on_pass = sicken
    return w, image_id


def test_old_instances_are_drained_though_retire_and_rollback_took_longer_than_their_hook():
    w, _ = turns_sick_while_retiring()
    began = w.aws.clock.now()
    with pytest.raises(CapacityError):
        w.run(w.step(Retire))
    assert w.aws.clock.now() - began > HOOK_SECONDS
    w.run(BeginRollback(w.clients, w.ledger, "production", cause=lambda: "it got sick"))
    back = Restore(w.clients, w.ledger.going(back=True), "web", wave=0, timeout=CAPACITY_TIMEOUT)
    chunks = w.run(back)
    receipts = [one["instance_id"] for ids in chunks for one in w.run(w.drain(ids))]
    assert set(w.record().retired[:2]) <= set(receipts)
    assert (w.record().lost, w.record().retained) == ((), ())


def test_a_hook_is_told_three_times_in_its_timeout_and_not_at_each_look():
    w, _ = turns_sick_while_retiring()
    began = w.aws.clock.now()
    with pytest.raises(CapacityError):
        w.run(w.step(Retire))
    times = (w.aws.clock.now() - began) / (HOOK_SECONDS / 3)
    assert 2 * (times - 2) <= beats(w) <= 2 * (times + 2)


def test_a_group_whose_hook_was_deleted_holds_nobody_and_stops_nothing():
    w, _ = turns_sick_while_retiring()
    sicken = w.on_pass

    def deleted_too(w: World) -> None:
        assert sicken is not None
        sicken(w)
        if w.on_pass is None:
            w.clients.autoscaling.delete_lifecycle_hook(
                AutoScalingGroupName="web", LifecycleHookName=w.made.hook
            )

    w.on_pass = deleted_too
    with pytest.raises(CapacityError, match="cannot be retired"):
        w.run(w.step(Retire))


def test_an_action_is_kept_alive_while_one_receipt_after_the_other_is_acted_on():
    """Each call may be slow: fifty receipts that are there at once leave no time to wait."""
    w = world(12, maximum=24, heartbeat_seconds=100)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    (ids,) = w.run(w.step(Retire))
    w.settle(60)
    step = w.drain(ids)
    ended = 0
    while (decision := step.look()) and not isinstance(decision, Done):
        if isinstance(decision, Act):
            decision.perform()
            ended += "complete its lifecycle action" in decision.what
            w.settle(20)
        else:
            w.settle(5)
    assert ended == len(ids), "none timed out"
    assert (w.record().lost, w.record().retained) == ((), ())
