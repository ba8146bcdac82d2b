"""Rollouts come to the same end wherever they are cut off, however they are taken up again."""

from __future__ import annotations

from collections import Counter

import pytest

from tools.chaos.crashes import BACK, FORWARD, cuts, play

PARTS = 8
PLANS = {"forward": FORWARD, "back": BACK}
KINDS = {
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
"""Of calls that both make."""
MORE = {"forward": set(), "back": {"Publish", "GetCallerIdentity"}}


@pytest.fixture(scope="module")
def calls():
    made = {}
    for way, plan in PLANS.items():
        outcome, made[way], _ = play(None, plan)
        assert outcome.violation == ""
    return made


@pytest.mark.parametrize("way", PLANS)
def test_the_rollout_makes_every_kind_of_call(calls, way):
    assert len(calls[way]) > 100
    assert {name.partition(":")[2] for name in calls[way]} >= KINDS | MORE[way]


def test_one_rollout_goes_through_a_gate_a_failed_drain_and_back():
    outcome, _, _ = play(None, BACK)
    for said in (" gate: ", "give up draining 1 instances", "rollback begin: ", " restore: terminate"):
        assert any(said in line for line in outcome.story), said
    assert outcome.runs == 1


def test_each_answer_that_is_lost_is_followed_by_a_retry_and_by_a_new_run(calls):
    lost = Counter(cut.resume for cut in cuts(calls["forward"]) if cut.when == "lost")
    assert lost["retry"] == lost["new run"] > 30


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("way", PLANS)
def test_every_cut_comes_to_the_same_end(calls, way, part):
    found = list(cuts(calls[way]))
    assert {cut.call for cut in found} == set(range(1, len(calls[way]) + 1)), "every call is cut off"
    bad = []
    for cut in found[part::PARTS]:
        outcome, _, cut_off = play(cut, PLANS[way])
        if outcome.violation or not cut_off:
            bad.append((cut, calls[way][cut.call - 1], outcome.violation or "it was never cut off"))
    assert not bad, f"{len(bad)} of {len(found[part::PARTS])} cuts of {way}: {bad[:3]}"
