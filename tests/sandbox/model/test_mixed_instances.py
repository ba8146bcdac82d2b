"""Mixed instances policies, against what AWS documents of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sandbox.model.ports import LaunchError

TEMPLATE = {"LaunchTemplateId": "lt-1", "Version": "$Latest"}


def policy(*types: str, **distribution: Any) -> dict[str, Any]:
    """Return a policy of some instance types."""
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": TEMPLATE,
            "Overrides": [{"InstanceType": each} for each in types],
        },
        "InstancesDistribution": distribution,
    }


def make(world, mixed: dict[str, Any], desired: int = 4):
    world.call(
        "CreateAutoScalingGroup",
        AutoScalingGroupName="web",
        MinSize=0,
        MaxSize=100,
        DesiredCapacity=desired,
        MixedInstancesPolicy=mixed,
        VPCZoneIdentifier="subnet-a,subnet-b",
    )
    world.until(lambda: world.states() == ["InService"] * desired)


def types(world) -> Counter[str]:
    return Counter(each["InstanceType"] for each in world.instances())


def spot(world) -> int:
    return sum(member.spot for member in world.account.groups.get("web").members.values())


def test_the_policy_is_described_in_the_template_s_place(world):
    make(world, policy("t3.small", "t3a.small"))
    group = world.group()
    assert "LaunchTemplate" not in group
    described = group["MixedInstancesPolicy"]
    assert described["LaunchTemplate"] == {
        "LaunchTemplateSpecification": {**TEMPLATE, "LaunchTemplateName": "web-template"},
        "Overrides": [{"InstanceType": "t3.small"}, {"InstanceType": "t3a.small"}],
    }
    assert described["InstancesDistribution"] == {
        "OnDemandAllocationStrategy": "prioritized",
        "OnDemandBaseCapacity": 0,
        "OnDemandPercentageAboveBaseCapacity": 100,
        "SpotAllocationStrategy": "lowest-price",
        "SpotInstancePools": 2,
    }
    assert {each["LaunchTemplate"]["Version"] for each in world.instances()} == {"1"}


def test_on_demand_types_are_taken_in_their_order(world):
    make(world, policy("t3.small", "t3a.small"))
    assert types(world) == {"t3.small": 4}


def test_the_next_type_is_taken_where_the_first_has_no_capacity(world, monkeypatch):
    create = world.records.create

    def scarce(spec):
        if spec.instance_type == "t3.small":
            raise LaunchError("InsufficientInstanceCapacity", "none left")
        return create(spec)

    monkeypatch.setattr(world.records, "create", scarce)
    make(world, policy("t3.small", "t3a.small"))
    assert types(world) == {"t3a.small": 4}
    monkeypatch.setattr(world.records, "create", scarce)
    world.update(MixedInstancesPolicy=policy("t3.small"), DesiredCapacity=5)
    world.advance(5)
    assert world.activities()[0]["StatusMessage"] == "none left. Launching EC2 instance failed."


@pytest.mark.parametrize(
    ("base", "share", "expected"), [(0, 100, 0), (0, 0, 10), (2, 0, 8), (0, 50, 5), (1, 25, 6), (20, 0, 0)]
)
def test_spot_and_on_demand_are_distributed(world, base, share, expected):
    distribution = {"OnDemandBaseCapacity": base, "OnDemandPercentageAboveBaseCapacity": share}
    make(world, policy("t3.small", "t3a.small", **distribution), desired=10)
    assert spot(world) == expected


def test_which_type_is_cheapest_is_drawn_and_a_seed_repeats_it(make_world):
    drawn = []
    for seed in (1, 1, 2):
        world = make_world(seed=seed)
        cheap = policy("t3.small", "t3a.small", OnDemandAllocationStrategy="lowest-price")
        make(world, cheap, desired=12)
        assert set(types(world)) == {"t3.small", "t3a.small"}
        drawn.append([each["InstanceType"] for each in world.instances()])
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_new_version_is_launched_and_the_rest_of_the_policy_stays(world):
    make(world, policy("t3.small", "t3a.small", OnDemandPercentageAboveBaseCapacity=50))
    version = world.publish("ami-2")
    specification = {"LaunchTemplateId": "lt-1", "Version": version}
    world.update(MixedInstancesPolicy={"LaunchTemplate": {"LaunchTemplateSpecification": specification}})
    described = world.group()["MixedInstancesPolicy"]
    assert described["LaunchTemplate"]["LaunchTemplateSpecification"]["Version"] == version
    assert len(described["LaunchTemplate"]["Overrides"]) == 2
    assert described["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"] == 50
    world.update(DesiredCapacity=6)
    world.until(lambda: world.states() == ["InService"] * 6)
    assert Counter(each["ImageId"] for each in world.instances()) == {"ami-1": 4, "ami-2": 2}


def test_an_override_may_have_a_template_of_its_own(world):
    world.templates.put("lt-2", {"ImageId": "ami-arm"}, name="arm")
    mixed = policy("t4g.small")
    mixed["LaunchTemplate"]["Overrides"][0]["LaunchTemplateSpecification"] = {
        "LaunchTemplateId": "lt-2",
        "Version": "1",
    }
    make(world, mixed)
    assert {each["ImageId"] for each in world.instances()} == {"ami-arm"}
    assert {each["LaunchTemplate"]["LaunchTemplateId"] for each in world.instances()} == {"lt-2"}


def test_a_launch_template_takes_the_policy_s_place(world):
    make(world, policy("t3.small"))
    world.update(LaunchTemplate=TEMPLATE)
    assert "MixedInstancesPolicy" not in world.group()
    assert world.group()["LaunchTemplate"]["LaunchTemplateId"] == "lt-1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"LaunchTemplate": {"Overrides": [{"InstanceType": "a", "WeightedCapacity": "2"}]}}, "not modelled"),
        ({"LaunchTemplate": {"Overrides": [{"WeightedCapacity": "1"}]}}, "needs an InstanceType"),
        ({"InstancesDistribution": {"SpotAllocationStrategy": "luck"}}, "must be one of capacity-optimized"),
        ({"InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 101}}, "between 0 and 100"),
        ({"InstancesDistribution": {"OnDemandBaseCapacity": -1}}, "must not be negative"),
    ],
)
def test_a_policy_that_makes_no_sense_changes_nothing(world, change, says):
    make(world, policy("t3.small"))
    before = world.group()
    refusal = world.refused(
        "UpdateAutoScalingGroup", AutoScalingGroupName="web", MinSize=1, MixedInstancesPolicy=change
    )
    assert (refusal.code, says in refusal.message) == ("ValidationError", True)
    assert world.group() == before


def test_a_group_has_either_a_template_or_a_policy(world):
    refusal = world.refused(
        "CreateAutoScalingGroup",
        AutoScalingGroupName="web",
        MinSize=0,
        MaxSize=1,
        LaunchTemplate=TEMPLATE,
        MixedInstancesPolicy=policy("t3.small"),
        VPCZoneIdentifier="subnet-a",
    )
    assert refusal.code == "ValidationError"
