"""Where CodeDeploy's blue/green deployments fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.failures_of_others.support import AwaitCapacity, Retire, ScaleOut, peer

MODULE = Path(__file__).parents[2] / "terraform/modules/fleet/main.tf"
ATTRIBUTES = {
    "DesiredCapacity": "desired_capacity",
    "SuspendedProcesses": "suspended_processes",
    "NewInstancesProtectedFromScaleIn": "protect_from_scale_in",
    "MinSize": "min_size",
    "MaxSize": "max_size",
}
"""What Terraform calls the properties of a group that change in the middle of a rollout."""
FLOORS = {"min_size": "var.min_size_floor", "max_size": "var.max_size_floor"}


def different(before, after):
    """Return the properties of a group that differ, but for the instances that are in it."""
    return {name for name in before | after if name != "Instances" and before.get(name) != after.get(name)}


@pytest.mark.parametrize("waves", [("100%",), ("1", "50%", "100%")])
def test_after_a_rollout_terraform_finds_the_very_group_that_it_has_made(waves):
    """terraform-provider-aws #4678: the group is replaced by a copy of another name, which no state knows."""
    w = peer(4, waves=waves)
    w.release()
    applied = w.group()
    w.roll()
    described = w.others("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert [one["AutoScalingGroupARN"] for one in described] == [applied["AutoScalingGroupARN"]]
    assert different(applied, w.group()) == set(), "so a plan is empty"
    assert len({one["InstanceId"] for one in applied["Instances"]} & w.ids()) == 0
    made_or_ended = {name for name in w.changes() if name.startswith(("Create", "Delete"))}
    assert made_or_ended <= {"CreateTags"}


def test_in_the_middle_of_a_rollout_a_plan_takes_nothing_back():
    """terraform-provider-aws #4678: what the deployment changes is drift to Terraform, which undoes it."""
    w = peer(4)
    w.release()
    applied = w.group()
    text = MODULE.read_text()
    ignored = set(re.search(r"ignore_changes = \[([^\]]*)\]", text).group(1).split(", "))
    for kind in (ScaleOut, AwaitCapacity, Retire):
        w.run(w.step(kind))
        for name in different(applied, w.group()):
            attribute = ATTRIBUTES[name]
            floor = re.search(rf"^  {attribute} += max\(.*{FLOORS.get(attribute, '^')}\)", text, re.MULTILINE)
            assert attribute in ignored or floor, f"a plan in the middle would change {attribute}"


def test_a_rebalance_between_zones_does_not_launch_or_end_anything_in_the_middle():
    """CodeDeploy: what AZRebalance launches in the middle of a deployment gets the old revision."""
    w = peer(6, maximum=12)
    old = w.ids()
    w.release()
    launched = set(old)
    w.run(w.step(ScaleOut))
    w.aws.records.full_zones.add("ap-northeast-1a")  # so all of the new ones come up in the other zone
    w.run(w.step(AwaitCapacity))
    w.aws.records.full_zones.clear()
    for _ in range(10):
        w.settle(60)
        launched |= w.ids()
    zones = [one["AvailabilityZone"][-1] for one in w.group()["Instances"]]
    assert sorted(zones) == 3 * ["a"] + 9 * ["c"], "out of balance for ten minutes"
    assert (len(launched), w.terminated()) == (12, [])
    w.roll()
    assert sorted(w.terminated()) == sorted(old)
    assert w.group()["SuspendedProcesses"] == []
    w.settle(600)  # now it may, with the new version
    w.is_all_of("2", 6)
    assert sorted(one["AvailabilityZone"][-1] for one in w.group()["Instances"]) == 3 * ["a"] + 3 * ["c"]
