"""Describes that show a group as it was: nothing is taken for somebody else's that is only not shown yet."""

from __future__ import annotations

import pytest

from bakeroll.core.rollout import begin
from bakeroll.core.rollout.capacity import may_go, next_to_retire, with_theirs
from bakeroll.core.rollout.rollback import Restore
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.rollout.waves.step import SETTLE_SECONDS
from bakeroll.core.steps import Act, Done, Wait
from tests.core.rollout.harness import world
from tests.core.rollout.rollback.test_rollback import back, begin_rollback, sick_release
from tests.core.rollout.test_changes_meanwhile import picture, record
from tests.core.rollout.waves.test_waves import outputs


class Rewound:
    """A client whose next describes of groups are answered with an earlier answer."""

    def __init__(self, client):
        self._client = client
        self.earlier = self.late = None

    def __getattr__(self, name):
        return getattr(self._client, name)

    def remember(self):
        """Keep what a describe answers now, for all that follow until it is forgotten."""
        self.earlier = self._client.describe_auto_scaling_groups(AutoScalingGroupNames=["web"])

    def describe_auto_scaling_groups(self, **params):
        return self.earlier or self._client.describe_auto_scaling_groups(**params)


@pytest.fixture
def rewound():
    w = world(2, maximum=8)
    client = Rewound(w.clients.autoscaling)
    w.clients.autoscaling = client
    return w, client


def test_an_apply_that_does_not_show_yet_is_not_the_end_of_scale_out(rewound):
    w, client = rewound
    client.remember()
    w.release()
    begin.record_fleets(w.clients, w.ledger, outputs(w), {}, applied=True)
    step = w.step(ScaleOut)
    assert isinstance(step.look(), Wait)
    client.earlier = None
    w.run(step)
    assert any("raise web" in line for line in w.log)


def test_a_raise_that_does_not_show_yet_is_nobody_elses_change(rewound):
    w, client = rewound
    w.release()
    client.remember()
    client.earlier["AutoScalingGroups"][0]["MinSize"] = 1  # what was there before the intent, long ago
    client.late, client.earlier = client.earlier, None
    step = w.step(ScaleOut)
    w.run(step)
    client.earlier = client.late
    assert isinstance(step.look(), Wait), "it may be that our raise does not show"
    w.settle(SETTLE_SECONDS)
    decision = step.look()
    assert isinstance(decision, Act)
    assert "somebody set meanwhile" in decision.what, "by then AWS shows what is"


def test_nobody_else_goes_while_those_that_go_may_show_still():
    shown, surge = picture("OONN"), record(retiring=("i-0",)).surge
    assert may_go(shown, surge, shown.old[0], 3), "it was counted out when it was noted"
    assert not may_go(shown, surge, shown.old[1], 3)
    assert next_to_retire(shown, surge, 3, 10) == []


def test_an_intent_that_somebody_crossed_is_noted_anew_from_where_they_are():
    surge = record(amount=1, minimum=9, previous=8, base=8, applied=False).surge
    theirs = with_theirs(picture("OOOONNNN", desired=10, minimum=10), record(), surge)
    assert (theirs.amount, theirs.base, theirs.minimum, theirs.previous) == (1, 10, 11, 10)


def test_what_a_policy_took_while_there_was_room_lets_the_last_one_go():
    w = world(6, maximum=20)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=2)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    step, lowered = w.step(Retire), False
    while not isinstance(decision := step.look(), Done):
        if isinstance(decision, Act):
            w.log.append(decision.what)
            decision.perform()
            if "set MinSize" in decision.what and not lowered:
                lowered = True
                w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=9)
        w.settle(20)
    assert lowered
    w.run(w.step(Settle))
    after = w.picture()
    assert (after.minimum, len(after.old)) == (2, 0)
    # It may take the very ones that were to go: then as many more stay, until it scales in again.
    assert 3 <= after.desired == len(after.current) <= 6


def test_a_group_that_shows_the_bad_version_still_loses_no_good_instance(rewound):
    w, client = rewound
    good = {one.instance_id for one in w.picture().counted}
    sick_release(w)
    w.run(w.step(ScaleOut))
    w.run(begin_rollback(w))
    client.remember()
    step = back(w, Restore)
    for _ in range(5):
        decision = step.look()
        assert isinstance(decision, Act)
        assert "point web back" in decision.what, "nothing else is done until that shows"
        decision.perform()
    client.earlier = None
    w.run(step)
    assert good == {one.instance_id for one in w.picture().current}


def test_a_group_that_shows_as_before_the_raise_has_not_had_its_room_taken(rewound):
    """There its minimum is what it is to be lowered to, and nothing would be left to decrement."""
    w, client = rewound
    w.release()
    client.remember()
    client.late, client.earlier = client.earlier, None
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    step = w.step(Retire)
    intent = step.look()
    assert isinstance(intent, Act)
    assert "note the intent: retire" in intent.what
    intent.perform()
    client.earlier = client.late
    assert isinstance(step.look(), Wait)
    client.earlier = None
    w.run(step)
    assert (w.picture().desired, len(w.picture().current)) == (2, 2)


def test_a_group_that_shows_as_before_the_raise_has_not_been_given_back(rewound):
    w, client = rewound
    w.release()
    client.remember()
    before, client.earlier = client.earlier, None
    w.run(w.step(ScaleOut))
    before["AutoScalingGroups"][0]["Instances"] = []  # all old ones went by themselves, just before
    client.earlier = before
    assert isinstance(w.step(Settle).look(), Wait)
    assert w.record().surge.applied
    client.earlier = None
    w.roll()
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum) == (2, 2, 8)
    assert not after.new_instances_protected


def test_what_was_given_back_a_moment_ago_is_not_what_stood_before():
    w = world(2, maximum=8)
    w.release()
    w.roll()
    w.release()  # or a rollback, as another fleet has failed
    step = w.step(ScaleOut)
    assert isinstance(step.look(), Wait)
    w.settle(SETTLE_SECONDS)
    assert step.look().what.startswith("note the intent")


def test_what_the_rollout_before_gave_back_is_not_what_stood_before():
    w = world(2, maximum=8)
    w.release()
    w.ledger.update(lambda one: one.model_copy(update={"opened_at": w.ledger.now()}))
    step = w.step(ScaleOut)
    assert isinstance(step.look(), Wait)
    w.settle(SETTLE_SECONDS)
    assert step.look().what.startswith("note the intent")
