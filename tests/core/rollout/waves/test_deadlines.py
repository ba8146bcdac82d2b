"""How long a wave waits: a retry starts nothing again, what got on meanwhile does."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import CapacityError
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from bakeroll.core.steps import Act, Wait
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import CAPACITY_TIMEOUT, World, receipt, world

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")


def grows_at_the_last_moment(w: World) -> None:
    """Have a policy add an instance half a minute before the wave's time is up."""
    w.release()
    w.run(w.step(ScaleOut))
    w.settle(CAPACITY_TIMEOUT.total_seconds() - 30)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=5)


def test_what_a_policy_adds_at_the_last_moment_has_a_time_of_its_own():
    w = world(2, maximum=8)
    w.aws.hypervisor.default.boot_seconds = 60
    grows_at_the_last_moment(w)
    w.run(w.step(AwaitCapacity))
    assert w.picture().ready_current == 3
    w.roll()
    assert (w.picture().desired, len(w.picture().old)) == (3, 0)


def test_what_never_serves_fails_in_time_whatever_a_policy_adds():
    w = world(2, maximum=8)
    w.aws.hypervisor.default.boot_seconds = 4000
    grows_at_the_last_moment(w)
    began = w.aws.clock.now()
    with pytest.raises(CapacityError, match="0 of 3 in service"):
        w.run(w.step(AwaitCapacity))
    assert w.aws.clock.now() - began < 60


def test_old_instances_that_could_go_give_those_that_wait_later_their_full_time():
    w = world(4, maximum=8, group={"HealthCheckType": "EC2"})
    image_id = w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    step = w.step(Retire)

    def waits(*, until: str) -> float:
        """Go on with it until it has done something, then have the new version get sick."""
        while not any(until in line for line in w.log):
            decision = step.look()
            assert isinstance(decision, Act)
            w.log.append(decision.what)
            decision.perform()
        w.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, check=SICK)
        w.settle(60)
        decision = step.look()
        assert isinstance(decision, Wait)
        w.aws.hypervisor.images[image_id] = Behaviour(answer=receipt)
        w.settle(CAPACITY_TIMEOUT.total_seconds() - 100)
        return w.record().deadlines["wave_1.retire"]

    first = waits(until="new instances in service")
    assert waits(until="terminate ") > first + 60
