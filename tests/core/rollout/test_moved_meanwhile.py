"""Somebody points a group at another image in the middle of a rollout, as a Terraform run by hand does."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bakeroll.core import gate_settings
from bakeroll.core.errors import MovedError
from bakeroll.core.layers import images
from bakeroll.core.rollout.gates import Gate
from bakeroll.core.rollout.rollback import BeginRollback, Restore, SettleBack, end
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from tests.core.rollout.harness import BUCKET, CAPACITY_TIMEOUT, World, world


def applied(w: World) -> str:
    """Point the group at a new image and note what `apply` notes."""
    image_id = w.release()
    w.ledger.update(
        lambda journal: journal.model_copy(update={"image_id": image_id, "apply_epoch": journal.epoch})
    )
    return image_id


def by_hand(w: World) -> None:
    """Put the image before into a version of its own, and the sizes back, as Terraform does."""
    w.release(w.made.image_id)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=4, MaxSize=8)


def roll_back(w: World) -> None:
    w.run(BeginRollback(w.clients, w.ledger, "production", cause=lambda: "somebody moved the group"))
    for ids in w.run(back(w, Restore)):
        w.run(w.drain(ids))
    w.run(back(w, SettleBack))
    end(w.clients, w.ledger, BUCKET)


def back(w: World, kind):
    return kind(w.clients, w.ledger.going(back=True), "web", wave=0, timeout=CAPACITY_TIMEOUT)


@pytest.mark.parametrize("kind", [ScaleOut, AwaitCapacity, Gate, Retire, Settle])
def test_no_step_goes_on_and_the_rollback_keeps_what_serves(kind):
    w = world(4, maximum=8, waves=("1", "100%"))
    old = {one.instance_id for one in w.picture().instances}
    image_id = applied(w)
    w.roll_wave(1)
    w.run(w.step(ScaleOut, wave=2))
    by_hand(w)
    before, settings = w.picture(), {"waves": w.waves}
    if kind is Gate:
        settings["gate"] = gate_settings.Gate(soak=timedelta(seconds=1))
    step = kind(w.clients, w.ledger, "web", wave=2, timeout=CAPACITY_TIMEOUT, **settings)
    with pytest.raises(MovedError, match=f"launches image {w.made.image_id}, and image {image_id} is rolled"):
        w.run(step)
    assert w.picture() == before, "nothing is done upon a mistaken picture"
    roll_back(w)
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum) == (4, 4, 8)
    assert (after.template_version, after.ready_current, after.old) == ("1", 4, ())
    assert len(old & {one.instance_id for one in after.instances}) == 3, "all that wave 1 had left"
    image = images.get(w.clients.ec2, image_id)
    assert image
    assert image.judged("production") == "rejected"


def test_another_version_with_the_same_image_goes_on():
    w = world(4, maximum=8)
    image_id = applied(w)
    w.run(w.step(ScaleOut))
    w.release(image_id)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName="web", MinSize=4, MaxSize=8)
    w.roll()
    after = w.picture()
    assert (after.minimum, after.desired, after.maximum, after.old) == (4, 4, 8, ())


def test_what_aws_shows_late_is_tried_again():
    w = world(4, maximum=8)
    w.ledger.update(lambda journal: journal.model_copy(update={"image_id": "ami-0123456789abcdef0"}))
    with pytest.raises(MovedError):
        w.run(w.step(ScaleOut))
    assert w.record().untouched
    applied(w)
    w.roll()
    assert w.picture().old == ()
