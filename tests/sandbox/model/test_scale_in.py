"""Which instances a lowered desired capacity ends.

Auto Scaling user guide, "Configure termination policies for Amazon EC2 Auto Scaling" and "Use instance
scale-in protection".
"""

from __future__ import annotations

from collections import Counter

from sandbox.model.ports import LaunchError


def desired(world, number):
    world.call("SetDesiredCapacity", AutoScalingGroupName="web", DesiredCapacity=number)


def zones(world):
    return Counter(each["AvailabilityZone"][-1] for each in world.instances())


def test_launches_are_spread_over_zones(world):
    world.create(desired=9, VPCZoneIdentifier="subnet-a,subnet-b,subnet-c")
    assert zones(world) == {"a": 3, "b": 3, "c": 3}


def test_balance_comes_before_the_template_so_new_instances_may_end(world):
    """The reason why a rollout must never lower desired and let AWS choose."""
    world.create(desired=1, VPCZoneIdentifier="subnet-a")
    [old] = world.ids()
    world.publish("ami-2")
    world.on_web("SuspendProcesses", ScalingProcesses=["AZRebalance"])
    world.update(VPCZoneIdentifier="subnet-b")
    desired(world, 3)
    world.until(lambda: world.states() == ["InService"] * 3)
    world.update(VPCZoneIdentifier="subnet-a,subnet-b")
    desired(world, 2)
    world.until(lambda: len(world.ids()) == 2)
    assert old in world.ids()
    assert zones(world) == {"a": 1, "b": 1}


def test_a_zone_without_capacity_is_balanced_once_it_has_some_and_nobody_goes_until_then(world, monkeypatch):
    create = world.records.create

    def lost(spec):
        if spec.availability_zone.endswith("b"):
            raise LaunchError("InsufficientInstanceCapacity", "none left")
        return create(spec)

    monkeypatch.setattr(world.records, "create", lost)
    world.create(desired=4)
    before = world.ids()
    assert zones(world) == {"a": 4}
    refused = len(world.activities())
    world.advance(600)
    assert world.ids() == before
    assert len(world.activities()) > refused, "it is tried again and again"
    monkeypatch.setattr(world.records, "create", create)
    world.until(lambda: zones(world) == {"a": 2, "b": 2})


def test_oldest_template_version_goes_first_in_balance(world):
    old = {each["InstanceId"] for each in world.create(desired=4)}
    world.publish("ami-2")
    desired(world, 8)
    world.until(lambda: world.states() == ["InService"] * 8)
    desired(world, 4)
    world.until(lambda: len(world.ids()) == 4)
    assert old.isdisjoint(world.ids())
    assert zones(world) == {"a": 2, "b": 2}


def test_another_template_goes_before_an_old_version(world):
    world.create(desired=2)
    world.publish("ami-2")
    world.templates.put("lt-2", {"ImageId": "ami-9", "InstanceType": "t3.micro"})
    world.update(LaunchTemplate={"LaunchTemplateId": "lt-2", "Version": "1"})
    desired(world, 4)
    world.until(lambda: world.states() == ["InService"] * 4)
    strangers = set(world.ids()) - {
        each["InstanceId"] for each in world.instances() if each["ImageId"] == "ami-1"
    }
    world.update(LaunchTemplate={"LaunchTemplateId": "lt-1", "Version": "$Latest"})
    desired(world, 2)
    world.until(lambda: len(world.ids()) == 2)
    assert strangers.isdisjoint(world.ids())


def test_protected_instances_are_not_chosen(world):
    protected = {each["InstanceId"] for each in world.create(desired=4)[:3]}
    world.on_web("SetInstanceProtection", InstanceIds=sorted(protected), ProtectedFromScaleIn=True)
    desired(world, 2)
    world.advance(120)
    assert set(world.ids()) == protected
    assert world.group()["DesiredCapacity"] == 2
    world.on_web("SetInstanceProtection", InstanceIds=sorted(protected), ProtectedFromScaleIn=False)
    world.until(lambda: len(world.ids()) == 2)


def test_protection_does_not_hold_against_a_named_termination(world):
    [only] = [each["InstanceId"] for each in world.create(desired=1, NewInstancesProtectedFromScaleIn=True)]
    world.terminate(only)
    world.until(lambda: world.ids() == [])


def test_protection_is_all_or_nothing(world):
    world.create(desired=2)
    world.hook()
    ending, staying = world.ids()
    world.terminate(ending)
    refusal = world.refused(
        "SetInstanceProtection",
        AutoScalingGroupName="web",
        InstanceIds=[staying, ending],
        ProtectedFromScaleIn=True,
    )
    assert f"The instance {ending} is not in InService" in refusal.message
    assert not any(each["ProtectedFromScaleIn"] for each in world.instances())


def test_undocumented_choices_differ_by_seed_and_repeat_with_it(make_world):
    def left(seed):
        world = make_world(seed)
        world.create(desired=10)
        order = world.ids()
        desired(world, 5)
        world.until(lambda: len(world.ids()) == 5)
        return tuple(order.index(each) for each in world.ids())

    assert left(1) == left(1)
    assert len({left(seed) for seed in range(6)}) > 1


def test_oldest_and_newest_instance_policies(make_world):
    for policy, gone in (("OldestInstance", 0), ("NewestInstance", 1)):
        world = make_world()
        world.create(desired=1, VPCZoneIdentifier="subnet-a", TerminationPolicies=[policy])
        [first] = world.ids()
        desired(world, 2)
        world.until(lambda world=world: world.states() == ["InService"] * 2)
        [second] = set(world.ids()) - {first}
        desired(world, 1)
        world.until(lambda world=world: len(world.ids()) == 1)
        assert world.ids() == [[second], [first]][gone]
