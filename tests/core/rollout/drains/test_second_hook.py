"""A group with another termination hook, of somebody else: its instances wait for both."""

from __future__ import annotations

from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from bakeroll.core.steps import Act
from tests.core.rollout.harness import World, world

THEIRS = "somebody-elses"
PROCESSES = 12


def retired() -> tuple[World, list[str]]:
    w = world(2, maximum=4)
    w.clients.autoscaling.put_lifecycle_hook(
        AutoScalingGroupName=w.made.group,
        LifecycleHookName=THEIRS,
        LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING",
        HeartbeatTimeout=3600,
        DefaultResult="CONTINUE",
    )
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    return w, w.run(w.step(Retire))[0]


def test_our_action_is_not_ended_again_and_again_while_the_other_hook_holds_an_instance():
    w, ids = retired()
    ended = []
    for _ in range(PROCESSES):  # each look is another process: a trigger's, a worker's, a trigger's again
        decision = w.drain(ids).look()
        if isinstance(decision, Act):
            ended += [one for one in ids if decision.what.startswith(f"{one} is empty")]
            decision.perform()
        w.aws.clock.advance(5)
    assert sorted(ended) == sorted([*ids, *ids]), "the second time finds that it is over, and notes that"
    assert set(w.record().let_go) == set(ids)
    for instance_id in ids:
        w.clients.autoscaling.complete_lifecycle_action(
            AutoScalingGroupName=w.made.group,
            LifecycleHookName=THEIRS,
            InstanceId=instance_id,
            LifecycleActionResult="CONTINUE",
        )
    assert {one["instance_id"] for one in w.run(w.drain(ids))} == set(ids)
