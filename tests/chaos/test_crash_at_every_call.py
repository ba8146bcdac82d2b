"""A rollout of two waves comes to the same end wherever it is cut off, however it is taken up again."""

from __future__ import annotations

import pytest

from tools.chaos.crashes import FLEET, cuts, play

PARTS = 8


@pytest.fixture(scope="module")
def calls():
    outcome, names, _ = play(None)
    assert outcome.violation == ""
    return names


def test_the_rollout_makes_every_kind_of_call(calls):
    assert len(calls) > 100
    assert {name.partition(":")[2] for name in calls} >= {
        "GetObject",
        "PutObject",
        "DeleteObject",
        "DescribeAutoScalingGroups",
        "DescribeTargetHealth",
        "DescribeLaunchTemplateVersions",
        "DescribeAutoScalingInstances",
        "ListCommandInvocations",
        "SuspendProcesses",
        "ResumeProcesses",
        "UpdateAutoScalingGroup",
        "SetInstanceProtection",
        "TerminateInstanceInAutoScalingGroup",
        "SendCommand",
        "GetCommandInvocation",
        "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
        "CreateTags",
    }


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_cut_comes_to_the_same_end(calls, part):
    found = list(cuts(calls))
    assert {cut.call for cut in found} == set(range(1, len(calls) + 1)), "every call is cut off"
    bad = []
    for cut in found[part::PARTS]:
        outcome, _, cut_off = play(cut)
        if outcome.violation or not cut_off:
            bad.append((cut, calls[cut.call - 1], outcome.violation or "it was never cut off"))
    assert not bad, f"{len(bad)} of {len(found[part::PARTS])} cuts of {FLEET}: {bad[:3]}"
