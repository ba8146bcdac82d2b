"""What a failed deployment goes back to, whatever it failed of and wherever it is cut off."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from bakeroll.core.errors import CapacityError, FleetError, RollbackError, RolledBackError
from bakeroll.core.layers import images
from bakeroll.core.rollout import begin
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.journal import Ledger
from bakeroll.core.rollout.rollback import (
    BeginRollback,
    Restore,
    SettleBack,
    abandon,
    describe,
    drain_policy,
    end,
    insist_on_none,
)
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.steps import Act, Done, Step
from bakeroll.core.terraform import FleetOutput
from sandbox.model.ports import CheckResult, LaunchError
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import BUCKET, CAPACITY_TIMEOUT, World, ledger, receipt, world

CAUSE = "fleet web: only 0 of 2 in service"
SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")


class CutOffError(Exception):
    """The process was killed here."""


def applied(w: World, image_id: str) -> None:
    """Note what `apply` notes."""
    w.ledger.update(
        lambda journal: journal.model_copy(update={"image_id": image_id, "apply_epoch": journal.epoch})
    )


def sick_release(w: World) -> str:
    """Point the group at a version that never gets healthy."""
    image_id = w.aws.image("application-sick")
    w.aws.hypervisor.images[image_id] = Behaviour(answer=receipt, check=SICK)
    applied(w, image_id)
    return w.release(image_id)


def healthy_release(w: World) -> str:
    image_id = w.release()
    applied(w, image_id)
    return image_id


def cut_off_after(w: World, step: Step, text: str) -> None:
    """Run a step until its log says something, as if the process was killed then."""

    def end(w: World) -> None:
        if w.log and w.log[-1].startswith(text):
            raise CutOffError

    w.on_pass = end
    with pytest.raises(CutOffError):
        w.run(step)
    w.on_pass = None


def no_capacity(w: World, patch: pytest.MonkeyPatch) -> None:
    """Have EC2 refuse every launch from now on."""

    def short(_spec: object) -> None:
        raise LaunchError("InsufficientInstanceCapacity", "We currently do not have sufficient capacity")

    patch.setattr(w.aws.records, "create", short)


def begin_rollback(w: World, own: Ledger | None = None) -> BeginRollback:
    return BeginRollback(w.clients, own or w.ledger, "production", cause=lambda: CAUSE)


def back(w: World, kind, own: Ledger | None = None):
    """Make a step that goes back."""
    return kind(w.clients, (own or w.ledger).going(back=True), "web", wave=0, timeout=CAPACITY_TIMEOUT)


def roll_back(w: World, own: Ledger | None = None) -> str:
    """Run a whole rollback; returns the sentence at its end."""
    w.run(begin_rollback(w, own))
    chunks = w.run(back(w, Restore, own))
    for ids in chunks:
        w.run(w.drain(ids, own))
    w.run(back(w, SettleBack, own))
    return end(w.clients, own or w.ledger, BUCKET)


def judged(w: World, image_id: str) -> str | None:
    image = images.get(w.clients.ec2, image_id)
    assert image is not None
    return image.judged("production")


def is_as_before(w: World, old: set[str] | None = None, *, size: int = 2, maximum: int = 4) -> None:
    """See the version before at full capacity, and everything given back."""
    after = w.picture()
    assert after.template_version == "1"
    assert (after.desired, after.minimum, after.maximum) == (size, size, maximum)
    assert (len(after.counted), len(after.current), after.ready_count) == (size, size, size)
    assert not after.suspended
    assert not after.new_instances_protected
    assert not any(one.protected for one in after.counted)
    if old is not None:
        assert old == {one.instance_id for one in after.counted}


def ids(w: World) -> set[str]:
    return {one.instance_id for one in w.picture().counted}


def fails(w: World, *, kind=AwaitCapacity) -> None:
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError):
        w.run(w.step(kind))


def test_a_version_that_never_gets_healthy_goes_and_the_old_instances_stay():
    w = world(2)
    old = ids(w)
    bad = sick_release(w)
    fails(w)
    said = roll_back(w)
    is_as_before(w, old)
    assert w.lowest_ready == 2
    assert judged(w, bad) == "rejected"
    assert w.ledger.peek() is None
    assert "production: web is back at version 1, 2 of 2 serve" in said
    assert f"image {bad} is rejected" in said
    assert "Terraform's next apply moves the groups forward again" in said
    assert said.endswith(f"the cause: {CAUSE}")


def test_a_version_that_fails_after_old_instances_went():
    """Half of the old instances are gone: what is missing is launched again, and nobody is missed."""
    w = world(4, maximum=8, waves=("50%", "100%"))
    healthy_release(w)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    drained = {one for chunk in w.run(w.step(Retire)) for one in chunk}
    assert len(drained) == 2
    roll_back(w)
    is_as_before(w, size=4, maximum=8)
    assert w.lowest_ready == 4
    assert not drained & ids(w)
    held = [one for one in w.picture().instances if not one.counted]
    assert held == [], "what the deployment retired before it failed was drained too"


def test_a_version_that_cannot_be_launched_leaves_no_capacity_behind(monkeypatch):
    """AWS has still to launch two instances when it is given up: it never does."""
    w = world(2)
    old = ids(w)

    no_capacity(w, monkeypatch)
    healthy_release(w)
    fails(w)
    assert w.picture().launching == 2
    roll_back(w)
    monkeypatch.undo()
    w.settle(1000)
    is_as_before(w, old)


def test_a_minimum_that_takes_what_was_just_withdrawn_is_theirs_though_lowered_again(monkeypatch):
    """Whether it was withdrawn is not seen any more: that minimum had taken all of it, either way."""
    w = world(2, maximum=8)

    healthy_release(w)
    with monkeypatch.context() as patch:
        no_capacity(w, patch)
        fails(w)
        w.run(begin_rollback(w))
        cut_off_after(w, back(w, Restore), "withdraw 2 instances")
    update = w.clients.autoscaling.update_auto_scaling_group
    update(AutoScalingGroupName="web", MinSize=5)
    step = back(w, Restore)
    while not w.log[-1].startswith("drop that intent"):
        decision = step.look()
        assert isinstance(decision, Act)
        w.log.append(decision.what)
        decision.perform()
    w.settle()
    update(AutoScalingGroupName="web", MinSize=2)
    roll_back(w)
    after = w.picture()
    assert (after.minimum, after.desired, after.ready_count) == (2, 5, 5)


def launched_in_place_of_new_ones(w: World):
    """Make surplus: the image is gone, so launches fail; pointed back, AWS launches what it still owes."""
    image_id = healthy_release(w)
    w.clients.ec2.deregister_image(ImageId=image_id)
    fails(w)
    w.run(begin_rollback(w))
    step = back(w, Restore)
    step.look().perform()
    w.settle(60)
    assert len(w.picture().current) == 4
    return step


def test_instances_launched_in_place_of_new_ones_are_surplus():
    w = world(2)
    step = launched_in_place_of_new_ones(w)
    for chunk in w.run(step):
        w.run(w.drain(chunk))
    w.run(back(w, SettleBack))
    end(w.clients, w.ledger, BUCKET)
    is_as_before(w)


def test_surplus_that_a_policy_took_itself_is_not_taken_twice():
    w = world(2)
    step = launched_in_place_of_new_ones(w)

    def scale_in_where_there_is_room(w: World) -> None:
        if w.picture().minimum == 2:
            w.on_pass = None
            w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)

    w.on_pass = scale_in_where_there_is_room
    for chunk in w.run(step):
        w.run(w.drain(chunk))
    w.run(back(w, SettleBack))
    end(w.clients, w.ledger, BUCKET)
    w.settle(300)
    is_as_before(w)


def test_an_apply_that_changed_nothing_rejects_nothing():
    w = world(2)
    old = ids(w)
    image_id = w.aws.image("application-2")
    applied(w, image_id)
    said = roll_back(w)
    is_as_before(w, old)
    assert judged(w, image_id) is None
    assert "no image is rejected" in said


def test_an_image_that_ran_before_is_never_rejected():
    """Another instance type failed, say: the image is the released one."""
    w = world(2)
    applied(w, w.made.image_id)
    w.clients.ec2.create_launch_template_version(
        LaunchTemplateId=w.made.template_id,
        LaunchTemplateData={"ImageId": w.made.image_id, "InstanceType": "t3.small"},
    )
    w.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName="web", LaunchTemplate={"LaunchTemplateId": w.made.template_id, "Version": "2"}
    )
    w.run(w.step(ScaleOut))
    roll_back(w)
    is_as_before(w)
    assert judged(w, w.made.image_id) is None


def test_a_run_that_applied_nothing_rolls_nothing_back():
    w = world(2)
    assert w.run(begin_rollback(w)) is None
    assert w.record().template_before == "1"
    journal = w.ledger.peek()
    assert journal
    assert journal.rollback is None
    assert w.run(begin_rollback(w, ledger(w.aws, "run-2"))) is None, "another run's journal"
    w.ledger.close()
    assert w.run(begin_rollback(w)) is None


def test_a_first_deployment_has_nothing_to_go_back_to():
    w = world(2)
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"template_before": None}))
    bad = sick_release(w)
    w.run(begin_rollback(w))
    assert w.run(back(w, Restore)) is None
    assert "there is nothing to go back to" in w.log[-1]
    said = end(w.clients, w.ledger, BUCKET)
    assert "web had nothing to go back to, 2 of 2 serve" in said
    assert judged(w, bad) == "rejected"
    assert w.ledger.peek() is None


def test_a_fleet_with_nothing_before_whose_capacity_is_raised_keeps_the_journal():
    w = world(2)
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"template_before": None}))
    sick_release(w)
    fails(w)
    w.run(begin_rollback(w))
    w.run(back(w, Restore))
    assert "the journal stays open" in end(w.clients, w.ledger, BUCKET)
    applied(w, w.made.image_id)
    w.release(w.made.image_id)
    w.settle(60)
    w.roll()  # the next run goes on
    after = w.picture()
    assert (after.minimum, after.maximum, len(after.old)) == (2, 4, 0)


def test_a_deleted_version_is_named_with_the_state_of_the_fleet():
    w = world(2)
    sick_release(w)
    w.clients.ec2.modify_launch_template(LaunchTemplateId=w.made.template_id, DefaultVersion="2")
    w.clients.ec2.delete_launch_template_versions(LaunchTemplateId=w.made.template_id, Versions=["1"])
    w.run(w.step(ScaleOut))
    w.run(begin_rollback(w))
    with pytest.raises(
        RollbackError, match=r"version 1 of launch template lt-\w+, which ran before, has been"
    ):
        w.run(back(w, Restore))
    journal = w.ledger.peek()
    assert journal
    (state,) = describe(w.clients, journal)
    assert "web launches version 2, version 1 ran before" in state
    assert "not given back yet: MinSize 2, MaxSize 4" in state


def test_nothing_goes_forward_once_a_rollback_has_begun():
    w = world(2)
    sick_release(w)
    w.run(begin_rollback(w))
    forward = w.ledger.going(back=False)
    before = w.picture()
    for kind in (ScaleOut, AwaitCapacity, Retire, Settle):
        with pytest.raises(RolledBackError, match=f"goes no further; the cause: {CAUSE}"):
            w.run(w.step(kind, forward))
    assert w.picture() == before


def test_nothing_goes_back_unless_a_rollback_has_begun():
    w = world(2)
    healthy_release(w)
    with pytest.raises(RollbackError, match="nothing is being rolled back"):
        back(w, Restore).look()


def test_a_group_that_launches_from_latest_is_pinned():
    w = world(2)
    template = {"LaunchTemplateId": w.made.template_id, "Version": "$Latest"}
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", LaunchTemplate=template)
    image_id = w.aws.image("application-2")
    applied(w, image_id)
    w.clients.ec2.create_launch_template_version(
        LaunchTemplateId=w.made.template_id,
        LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro"},
    )
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    roll_back(w)
    is_as_before(w)


def test_whoever_moves_the_group_forward_again_meanwhile_is_overruled():
    w = world(2)
    old = ids(w)
    bad = sick_release(w)
    w.run(w.step(ScaleOut))
    w.run(begin_rollback(w))
    back(w, Restore).look().perform()
    w.release(bad)  # Terraform by hand
    roll_back(w)
    is_as_before(w, old)


def forward_until_it_fails(w: World) -> None:
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    w.run(w.step(Retire))


def cut_after(w: World, acts: int) -> None:
    begun = len(w.log)

    def on_pass(w):
        if sum(not line.startswith("...") for line in w.log[begun:]) >= acts:
            raise CutOffError

    w.on_pass = on_pass


@pytest.mark.parametrize("heir", ["the same run", "a new run"])
@pytest.mark.parametrize("acts", range(1, 19))
def test_a_rollback_that_is_cut_off_anywhere_ends_the_same(acts, heir):
    w = world(3, maximum=3, waves=("1", "100%"))
    bad = healthy_release(w)
    forward_until_it_fails(w)
    w.on_pass, own = None, w.ledger
    cut_after(w, acts)
    try:
        roll_back(w)
    except CutOffError:
        w.on_pass = None
        if heir == "a new run":
            w.settle(100)
            own = ledger(w.aws, "run-2")
            w.run(Begin(own, "production", alive=lambda _owner: False))
        roll_back(w, own)
    w.on_pass = None
    is_as_before(w, size=3, maximum=3)
    assert w.lowest_ready == 3
    assert own.peek() is None
    assert judged(w, bad) == "rejected"


@pytest.mark.parametrize("acts", range(1, 15))
def test_a_deployment_that_fails_anywhere_goes_back(acts):
    w = world(2, maximum=2)
    healthy_release(w)
    cut_after(w, acts)
    with pytest.raises(CutOffError):
        w.roll()
    w.on_pass = None
    roll_back(w)
    is_as_before(w, maximum=2)


def test_what_ran_before_is_what_serves_not_what_the_group_was_moved_to_by_hand():
    w = world(3)
    w.ledger.update(lambda journal: journal.model_copy(update={"fleets": {}}))
    healthy_release(w)
    made = FleetOutput(
        autoscaling_group="web",
        launch_template_id=w.made.template_id,
        termination_hook=w.made.hook,
        drain_document="drain-web",
    )
    record = begin.record_fleets(w.clients, w.ledger, {"web": made}, {}).fleets["web"]
    assert (record.template_before, record.template_id_before) == ("1", w.made.template_id)
    assert not isinstance(w.step(ScaleOut).look(), Done)


def test_an_unfinished_rollback_is_given_up_only_if_a_person_says_so():
    w = world(2)
    bad = sick_release(w)
    w.run(w.step(ScaleOut))
    w.run(begin_rollback(w))
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"launch_held": True}))
    w.clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["Launch"])
    with pytest.raises(RollbackError, match="this one finishes it and deploys nothing"):
        insist_on_none(w.ledger, "production")
    assert "Launch of web is resumed" in abandon(w.clients, w.ledger, "production")
    insist_on_none(w.ledger, "production")
    assert judged(w, bad) == "rejected"
    applied(w, w.release())
    w.roll(w.ledger.going(back=False))
    after = w.picture()
    assert (after.minimum, after.maximum, len(after.old)) == (2, 4, 0)
    assert not after.suspended


def test_capacity_that_only_a_given_up_rollback_needed_is_not_raised():
    w = world(4, maximum=16, waves=("3", "100%"))
    good = healthy_release(w)
    w.roll_wave(1)
    w.run(begin_rollback(w))
    cut_off_after(w, back(w, Restore), "note the intent: 3 instances beyond 4")
    abandon(w.clients, w.ledger, "production")
    applied(w, w.release(good))
    w.roll(w.ledger.going(back=False))
    assert (w.picture().desired, len(w.picture().current)) == (4, 4)
    assert any(line.startswith("drop the intent to raise capacity to 7") for line in w.log)


def test_a_raise_is_known_by_its_minimum_though_somebody_lowered_the_maximum_since():
    """Where new instances are protected anyhow, nothing else shows that capacity was raised."""
    w = world(2, maximum=9, group={"NewInstancesProtectedFromScaleIn": True})
    healthy_release(w)
    step = w.step(ScaleOut)
    while w.picture().minimum == 2:
        decision = step.look()
        assert isinstance(decision, Act)
        decision.perform()
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MaxSize=5)
    assert not w.record().surge.applied
    roll_back(w)
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum, len(after.old)) == (2, 2, 5, 0)


def test_old_instances_that_were_only_meant_to_go_leave_the_minimum_ours():
    w = world(2, maximum=4)
    healthy_release(w)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    cut_off_after(w, w.step(Retire), "note the intent: retire")
    w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=w.picture().old[0].instance_id, ShouldDecrementDesiredCapacity=False
    )
    roll_back(w)
    after = w.picture()
    assert (after.minimum, after.maximum, after.template_version, len(after.old)) == (2, 4, "1", 0)


def test_a_minimum_that_a_person_set_above_ours_is_theirs_though_lowered_again():
    """Where new instances are protected anyhow, it looks as if capacity was raised."""
    w = world(2, maximum=9, group={"NewInstancesProtectedFromScaleIn": True})
    w.clients.autoscaling.suspend_processes(AutoScalingGroupName="web", ScalingProcesses=["AZRebalance"])
    update = w.clients.autoscaling.update_auto_scaling_group
    healthy_release(w)
    cut_off_after(w, w.step(ScaleOut), "note the intent: 2 instances")
    update(AutoScalingGroupName="web", MinSize=5)
    w.settle()
    lowered: list[bool] = []

    def lower(w: World) -> None:
        said = w.log[-1].startswith(("note that capacity was raised", "take what somebody set"))
        if said and not lowered:
            lowered.append(True)
            update(AutoScalingGroupName="web", MinSize=2)

    w.on_pass = lower
    roll_back(w)
    after = w.picture()
    assert lowered
    assert (after.minimum, after.desired, len(after.old)) == (2, 5, 0)


def test_only_instances_of_the_bad_version_are_let_go_undrained():
    w = world(4, maximum=8, waves=("50%", "100%"))
    healthy_release(w)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    (forward,) = w.run(w.step(Retire))
    w.run(begin_rollback(w))
    journal = w.ledger.read()
    assert drain_policy(journal, "web", forward, "retain") == "retain"
    assert drain_policy(journal, "web", ["i-bad"], "retain") == "continue"


def test_what_another_fleet_retires_while_the_rollback_begins_is_drained_as_ever():
    """A fleet fails, and another one goes on until the rollback is noted."""
    w = world(4, maximum=8)
    healthy_release(w)
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))

    def cause() -> str:
        cut_off_after(w, w.step(Retire, w.ledger.going(back=False)), "terminate ")
        return CAUSE

    w.run(BeginRollback(w.clients, w.ledger, "production", cause=cause))
    retired = w.record().retired
    assert len(retired) == 4
    assert drain_policy(w.ledger.read(), "web", retired, "retain") == "retain"


def deleted(w: World) -> None:
    """Delete the version that the deployment moved the group to."""
    w.clients.ec2.modify_launch_template(LaunchTemplateId=w.made.template_id, DefaultVersion="1")
    w.clients.ec2.delete_launch_template_versions(LaunchTemplateId=w.made.template_id, Versions=["2"])


@pytest.mark.parametrize("begun", [False, True])
def test_a_group_whose_new_version_is_deleted_goes_back(begun):
    w = world(2)
    bad = healthy_release(w)
    w.run(w.step(ScaleOut))
    if begun:
        w.run(begin_rollback(w))
    deleted(w)
    roll_back(w)
    is_as_before(w)
    assert judged(w, bad) == "rejected"


def test_a_group_that_apply_made_one_that_is_not_rolled_goes_back():
    w = world(2)
    w.release("resolve:ssm:/images/web")
    applied(w, w.aws.image("application-2"))
    with pytest.raises(FleetError, match="names its image by a parameter"):
        w.run(w.step(ScaleOut))
    roll_back(w)
    is_as_before(w)


def test_an_image_that_cannot_be_tagged_at_once_holds_no_rollback_up(monkeypatch):
    w = world(2)
    bad = sick_release(w)
    fails(w)
    denied = ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "CreateTags")

    def refuse(*_args: object) -> None:
        raise denied

    with monkeypatch.context() as patch:
        patch.setattr(images, "mark", refuse)
        w.run(begin_rollback(w))
        assert "the image is to be rejected in the end" in w.log[-1]
        w.run(back(w, Restore))
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            end(w.clients, w.ledger, BUCKET)
    assert w.ledger.peek() is not None
    roll_back(w)
    is_as_before(w)
    assert judged(w, bad) == "rejected"


def test_a_group_that_is_deleted_meanwhile_keeps_no_rollback_from_its_end():
    w = world(2)
    healthy_release(w)
    w.run(begin_rollback(w))
    w.run(back(w, Restore))
    w.run(back(w, SettleBack))
    w.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    w.settle(600)
    assert "there is no Auto Scaling group web" in end(w.clients, w.ledger, BUCKET)
    assert w.ledger.peek() is None


@pytest.mark.parametrize("theirs", [0, 1])
def test_capacity_is_withdrawn_also_where_a_person_lowered_the_minimum_meanwhile(monkeypatch, theirs):
    w = world(2)
    old = ids(w)

    no_capacity(w, monkeypatch)
    healthy_release(w)
    fails(w)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=theirs)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName="web", DesiredCapacity=3)
    w.floor = 1  # a policy that scales in has taken one
    roll_back(w)
    monkeypatch.undo()
    w.settle(1000)
    after = w.picture()
    assert (after.minimum, after.maximum, len(after.counted)) == (theirs, 4, after.desired)
    assert ids(w) <= old
