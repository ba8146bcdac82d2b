"""Where tools that clean images up fail: what a launch template still uses is gone."""

from __future__ import annotations

import pytest

from tests.failures_of_others.support import (
    SICK,
    AwaitCapacity,
    CapacityError,
    Retire,
    ScaleOut,
    images,
    left_overs,
    peer,
    preflights,
    rollbacks,
)

BEFORE, AFTER = f"ami-{1:017x}", f"ami-{2:017x}"


def own(layers):
    """Return id and state of all images of the account."""
    found = layers.clients.ec2.describe_images(Owners=["self"])["Images"]
    return {one["ImageId"]: one["State"] for one in found}


def test_no_image_is_removed_by_its_age_or_number_however_many_there_are(layers):
    """wata727/packer-plugin-amazon-ami-management #32: it keeps the newest, whoever uses the others."""
    layers.deploy()
    for _ in range(2):
        layers.commit()
        layers.deploy()
    assert len(layers.orders) == 3 + 2
    found = own(layers)
    assert len(found) == 1 + 3 + 2
    assert set(found.values()) == {"available"}


def test_an_image_that_a_launch_template_uses_stays_when_a_dead_bake_is_cleaned_up(layers):
    """widdix/aws-amicleaner #5: images were deleted that a launch template of no group still named."""
    layers.deploy()
    ec2 = layers.clients.ec2
    used = images.newest_of_layer(ec2, "application")[0]
    ec2.create_launch_template(LaunchTemplateName="jobs", LaunchTemplateData={"ImageId": used.id})
    before = own(layers)
    cleaner = left_overs.LeftOvers(ec2, say=layers.said.append)
    assert cleaner.remove(left_overs.Begun("0123456789abcdef", used.name), lambda known: None)
    assert own(layers) == before
    parts = ec2.describe_snapshots(SnapshotIds=list(used.snapshots))["Snapshots"]
    assert len(parts) == len(used.snapshots) == 1


def test_a_new_image_that_a_cleaner_deleted_fails_at_once_and_costs_no_old_instance():
    """AMI cleaners: the group's launches fail for ever, and nobody is told but by a scaling activity."""
    w = peer(3)
    old = w.ids()
    w.aws.records.images = {BEFORE}
    w.release()
    w.run(w.step(ScaleOut))
    began = w.aws.clock.now()
    with pytest.raises(CapacityError, match=rf"cannot launch new instances: .*'\[{AFTER}\]' does not exist"):
        w.run(w.step(AwaitCapacity))
    assert w.aws.clock.now() - began < 30
    rollbacks.roll_back(w)
    assert (w.ids(), w.sizes(), w.terminated()) == (old, (3, 3, 3), [])


def test_a_rollback_needs_no_image_while_all_that_ran_before_still_runs():
    """AMI cleaners: they take what no group launches from: the version that a rollback goes back to."""
    w = peer(3)
    old = w.ids()
    w.release(check=SICK)
    w.aws.records.images = {AFTER}
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError):
        w.run(w.step(AwaitCapacity))
    rollbacks.roll_back(w)
    w.is_all_of("1", 3)
    assert w.ids() == old


def test_a_rollback_whose_image_a_cleaner_deleted_says_so_and_touches_nothing_that_serves():
    """AMI cleaners: with the image of the version before, a rollback that has to launch is gone as well."""
    w = peer(4, maximum=8, waves=("50%", "100%"))
    w.release()
    for kind in (ScaleOut, AwaitCapacity, Retire):
        w.run(w.step(kind))
    w.aws.records.images = {AFTER}
    serving, ended = w.ids(), w.terminated()
    assert (len(serving), len(ended)) == (4, 2)
    w.run(rollbacks.begin_rollback(w))
    began = w.aws.clock.now()
    with pytest.raises(
        CapacityError, match=rf"instances of the version before: .*'\[{BEFORE}\]' does not exist"
    ):
        w.run(rollbacks.back(w, rollbacks.Restore))
    assert w.aws.clock.now() - began < 30
    assert (serving <= w.ids(), w.terminated(), w.healthy_targets()) == (True, ended, 4)


def test_an_image_that_is_gone_is_told_before_anything_moves():
    """AMI cleaners: that nothing can be launched is seen when an instance fails, or in a rollback."""
    made = preflights.ready()
    made.clients.ec2.deregister_image(ImageId=made.made.image_id)
    found = preflights.look(made)
    assert found.problems == [], "a deployment of another image is what mends it"
    assert found.notes == [
        f"fleet web: image {made.made.image_id} is gone: nothing can be launched of it, neither in place of "
        "what fails nor by a rollback; have clean-ups spare images that launch templates use"
    ]
