"""What others change in the middle of a rollout, and what a new run makes of it."""

from __future__ import annotations

import pytest

from bakeroll.core.errors import FleetError
from bakeroll.core.rollout import begin
from bakeroll.core.rollout.begin import close
from bakeroll.core.rollout.capacity import live_target, may_go, next_to_retire, without_raise
from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.health import TargetHealth
from bakeroll.core.rollout.journal import FleetRecord, Surge
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.terraform import FleetOutput
from tests.core.rollout.harness import World, world


def until(w, text):
    """Act until a line says it; returns the step's log."""

    class ReachedError(Exception):
        pass

    def on_pass(w):
        if any(text in line for line in w.log):
            raise ReachedError

    w.on_pass = on_pass
    with pytest.raises(ReachedError):
        w.roll()
    w.on_pass = None


def test_what_was_retired_for_another_target_is_still_drained():
    w = world(2, maximum=8)
    old = {one.instance_id for one in w.picture().instances}
    w.release()
    for kind in (ScaleOut, AwaitCapacity, Retire):
        w.run(w.step(kind))  # and then the run dies, before its drains
    w.release()  # a new commit before anybody looked
    drained = {one["instance_id"] for one in w.roll()["drained"]}
    assert old < drained
    assert len(drained) == 4
    assert w.record().lost == ()


def test_instances_that_are_current_again_are_kept():
    w = world(2, maximum=4)
    old = {one.instance_id for one in w.picture().instances}
    w.release()
    until(w, "note the intent: retire")
    w.release(w.made.image_id)
    w.floor = 2
    w.roll()
    after = w.picture()
    assert old <= {one.instance_id for one in after.instances}
    assert (after.minimum, after.maximum) == (2, 4)
    assert not after.old


def test_a_minimum_that_somebody_raises_is_kept_and_served():
    w = world(2, maximum=12)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=6)
    w.settle()
    w.run(w.step(Retire))
    w.run(w.step(Settle))
    after = w.picture()
    assert (after.minimum, after.maximum) == (6, 12)
    assert (after.desired, len(after.current), len(after.old)) == (6, 6, 0)


def test_a_maximum_that_somebody_sets_to_our_very_number_before_we_do_is_theirs():
    w = world(2, maximum=2)
    w.release()
    noting = w.step(ScaleOut).look()
    assert noting.what.startswith("note the intent")
    group = {"AutoScalingGroupName": "web"}
    w.clients.autoscaling.update_auto_scaling_group(**group, MaxSize=4)  # between look and note
    noting.perform()
    assert w.record().surge.maximum == 4
    w.roll()
    after = w.picture()
    assert (after.minimum, after.maximum) == (2, 4)


@pytest.mark.parametrize("last", [0, 4])
def test_a_minimum_of_our_very_number_is_theirs_as_long_as_we_raised_nothing(last):
    protected = {"NewInstancesProtectedFromScaleIn": True}  # so protection does not tell whether we did
    w = world(2, maximum=8, group=protected)
    w.release()
    noting = w.step(ScaleOut).look()
    assert noting.what.startswith("note the intent: 2 instances beyond 2")
    for minimum in dict.fromkeys((4, last)):  # between look and note
        w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=minimum)
    noting.perform()
    w.floor = 2
    w.roll()
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum) == (last, 4, 8)
    assert (len(after.current), len(after.old)) == (4, 0)


def above_desired(desired: int) -> World:
    """Make a fleet of three protected instances, and lower its desired capacity."""
    w = world(3, maximum=6, group={"NewInstancesProtectedFromScaleIn": True})
    group = {"AutoScalingGroupName": "web"}
    w.clients.autoscaling.update_auto_scaling_group(**group, MinSize=0)
    w.clients.autoscaling.set_desired_capacity(**group, DesiredCapacity=desired)
    w.settle()
    assert len(w.picture().counted) == 3, "AWS takes no protected instance"
    w.floor = desired
    w.release()
    return w


def test_protected_instances_above_desired_capacity_are_replaced_by_none():
    w = above_desired(0)
    assert len(w.roll()["drained"]) == 3
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum, len(after.counted)) == (0, 0, 6, 0)


def test_what_stands_above_desired_capacity_is_not_counted_twice():
    w = above_desired(2)
    assert len(w.roll()["drained"]) == 3
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum, after.ready_count) == (0, 2, 6, 2)


def test_processes_are_resumed_although_nothing_was_raised_in_the_end():
    w = world(2)
    w.release()
    until(w, "note the intent")
    w.clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AZRebalance"])
    w.release(w.made.image_id)
    w.roll()
    assert w.picture().suspended == frozenset()
    close(w.ledger)


def picture(states, *, desired=4, minimum=4):
    """Make a picture of instances: `o` or `n` for old or new, upper case if it serves."""
    instances = tuple(
        Instance(
            instance_id=f"i-{number}",
            lifecycle_state="InService",
            health_status="Healthy",
            current=state in "nN",
            protected=False,
            targets=(TargetHealth("tg", "healthy" if state.isupper() else "unhealthy"),),
        )
        for number, state in enumerate(states)
    )
    return Fleet(
        name="web",
        group="web",
        minimum=minimum,
        maximum=8,
        desired=desired,
        template_id="lt-1",
        template_version="2",
        new_instances_protected=True,
        suspended=frozenset({"AZRebalance"}),
        target_groups=("tg",),
        instances=instances,
    )


def record(**surge):
    made = Surge(**{"amount": 2, "minimum": 4, "previous": 2, "maximum": 8, "applied": True, **surge})
    return FleetRecord(
        group="web", launch_template_id="lt-1", termination_hook="h", drain_document="d", surge=made
    )


def test_a_desired_capacity_that_lags_behind_the_minimum_is_no_floor_of_zero():
    assert live_target(picture("OO", desired=2), record()) == 2


def test_what_is_left_without_a_raise_fits_into_what_others_set_since():
    sizes = {"amount": 6, "minimum": 13, "previous": 3, "maximum": 13, "maximum_before": 7, "base": 8}
    lower = picture("OOOOOOO", desired=7, minimum=3)
    kept = without_raise(lower, record(**sizes, applied=False).surge)
    assert (kept.amount, kept.minimum, kept.maximum) == (1, 7, 7)


def test_nothing_goes_while_fewer_serve_than_must():
    surge = record().surge
    outage = picture("oonn")
    assert next_to_retire(outage, surge, 2, 10) == []
    assert not may_go(outage, surge, outage.old[0], 2)
    one_sick = picture("oONN")
    assert [one.instance_id for one in next_to_retire(one_sick, surge, 2, 10)] == ["i-0", "i-1"]


def test_a_fleet_that_terraform_no_longer_has_leaves_the_journal():
    w = world(2)
    begin.record_fleets(w.clients, w.ledger, {}, {})
    assert w.ledger.read().fleets == {}


def test_a_group_that_was_deleted_by_hand_is_left_to_the_plan():
    w = world(2)
    w.ledger.update(lambda journal: journal.model_copy(update={"fleets": {}}))
    made = FleetOutput(
        autoscaling_group="gone", launch_template_id="lt-1", termination_hook="h", drain_document="d"
    )
    assert begin.record_fleets(w.clients, w.ledger, {"web": made}, {}).fleets["web"].template_before is None


def test_file_and_terraform_must_speak_of_the_same_fleets():
    with pytest.raises(FleetError) as refusal:
        begin.check_fleets("production", ["web"], ["web", "worker"], "terraform/environments/production")
    assert str(refusal.value) == (
        "production: dags/environments/production.yaml has the fleets web, Terraform's output `fleets` has "
        "web, worker; name the same under `fleets` there and in "
        "terraform/environments/production/terraform.tfvars, then start a new run"
    )
    begin.check_fleets("production", ["web", "worker"], ["worker", "web"], "terraform")


def test_settle_says_what_is_too_many():
    w = world(3, maximum=6)
    w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    dying = w.picture().old[0].instance_id
    w.clients.ec2.terminate_instances(InstanceIds=[dying])
    w.settle(120)
    w.run(w.step(Retire))
    w.run(w.step(Settle))
    assert any("1 more than before" in line for line in w.log)
