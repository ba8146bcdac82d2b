"""A deployment that is through is what a later one goes back to, wherever its run was cut off."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bakeroll.core import config
from bakeroll.core.errors import CapacityError, JournalError
from bakeroll.core.layers import images
from bakeroll.core.rollout import begin, release
from bakeroll.core.rollout.journal import LEASE_SECONDS, Ledger, report
from bakeroll.core.rollout.rollback import BeginRollback, Restore, SettleBack, end
from bakeroll.core.rollout.waves import AwaitCapacity, ScaleOut
from bakeroll.core.terraform import FleetOutput
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.harness import BUCKET, CAPACITY_TIMEOUT, DOCUMENT, World, ledger, receipt, world

SICK = CheckResult(healthy=False, reason="Target.ResponseCodeMismatch", description="codes: [500]")
FLEETS = {"web": {"instances": ["i-1"]}}


def applied(w: World, own: Ledger, image_id: str) -> None:
    own.update(lambda one: one.model_copy(update={"image_id": image_id, "apply_epoch": one.epoch}))


def rolled(w: World) -> str:
    """Roll a version out, whose run has yet to release it."""
    image_id = w.release()
    applied(w, w.ledger, image_id)
    w.roll()
    return image_id


def heir(w: World) -> Ledger:
    """Begin another run, the first being dead, as `begin` does."""
    w.settle(LEASE_SECONDS + 1)
    own = ledger(w.aws, "run-2")
    w.run(begin.Begin(own, "production", alive=lambda _: False))
    release.finish_earlier(w.clients, own, BUCKET)
    output = FleetOutput(
        autoscaling_group="web",
        launch_template_id=w.made.template_id,
        termination_hook=w.made.hook,
        drain_document=DOCUMENT,
    )
    settings = {"web": config.Fleet(capacity_timeout=timedelta(minutes=10))}
    begin.record_fleets(w.clients, own, {"web": output}, settings)
    return own


def fails_of_a_sick_version(w: World, own: Ledger) -> str:
    """Deploy a version that never gets healthy, and roll it back."""
    bad = w.aws.image("application-sick")
    w.aws.hypervisor.images[bad] = Behaviour(answer=receipt, check=SICK)
    w.release(bad)
    applied(w, own, bad)
    w.run(w.step(ScaleOut, own))
    with pytest.raises(CapacityError):
        w.run(w.step(AwaitCapacity, own))
    w.run(BeginRollback(w.clients, own, "production", cause=lambda: "it is sick"))
    back = own.going(back=True)
    for ids in w.run(Restore(w.clients, back, "web", wave=0, timeout=CAPACITY_TIMEOUT)):
        w.run(w.drain(ids, own))
    w.run(SettleBack(w.clients, back, "web", wave=0, timeout=CAPACITY_TIMEOUT))
    return end(w.clients, own, BUCKET)


def records(w: World) -> dict[str, str]:
    """Return image by key of all records."""
    keys = [one["Key"] for one in w.clients.s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    return {
        key: json.loads(w.clients.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())["image_id"]
        for key in keys
        if key.startswith("releases/")
    }


def judged(w: World, image_id: str) -> str | None:
    image = images.get(w.clients.ec2, image_id)
    assert image is not None
    return image.judged("production")


def test_a_run_that_ends_before_its_journal_is_closed_is_gone_back_to():
    w = world(2)
    good = rolled(w)
    served = {one.instance_id for one in w.picture().current}
    release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    own = heir(w)
    fails_of_a_sick_version(w, own)
    after = w.picture()
    assert after.image_id == good
    assert {one.instance_id for one in after.counted} == served
    assert judged(w, good) == "released"


def test_a_release_that_was_cut_off_is_finished_in_the_name_of_its_run(monkeypatch):
    w = world(2)
    good = rolled(w)

    class CutOffError(Exception):
        pass

    def cut_off(*_args: object, **_more: object) -> None:
        raise CutOffError

    with monkeypatch.context() as patch:
        patch.setattr(images, "mark", cut_off)
        with pytest.raises(CutOffError):
            release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    assert judged(w, good) is None
    assert records(w) == {}
    own = heir(w)
    assert judged(w, good) == "released"
    ((key, image_id),) = records(w).items()
    assert (key.endswith("dag-run-1.json"), image_id) == (True, good)
    journal = own.read()
    assert (journal.release, journal.image_id, journal.fleets["web"].template_before) == (None, None, "2")


def test_a_release_is_done_once_however_often_it_is_tried():
    w = world(2)
    rolled(w)
    first = release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    assert release.release(w.clients, w.ledger, BUCKET, {"fleets": {}}) == first
    assert len(records(w)) == 1


def test_what_is_released_is_not_rolled_back_because_its_journal_could_not_be_closed():
    w = world(2)
    good = rolled(w)
    release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    assert w.run(BeginRollback(w.clients, w.ledger, "production", cause=lambda: "S3 is away")) is None
    assert any("a new run finishes its record" in line for line in w.log)
    assert (judged(w, good), w.ledger.read().rollback) == ("released", None)


def test_nothing_is_released_before_something_was_applied():
    w = world(2)
    with pytest.raises(JournalError, match="start a new run"):
        release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})


def test_a_journal_that_holds_a_release_is_not_ended_by_hand():
    w = world(2)
    rolled(w)
    release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    journal = w.ledger.read()
    now = journal.lease_until + 1
    assert any(
        line.split()[:3] == ["released", "by", "dag/run-1,"] for line in report.lines(journal, {}, now)
    )
    assert any("which a new run finishes" in line for line in report.hindrances(journal, {}, now))


def test_a_release_noted_in_the_moment_of_a_rollbacks_note_is_not_rolled_back():
    w = world(2)
    rolled(w)
    beginning = BeginRollback(w.clients, w.ledger, "production", cause=lambda: "a task was marked failed")
    noting = beginning.look()
    assert noting.what == "note the intent: roll back"
    release.release(w.clients, w.ledger, BUCKET, {"fleets": FLEETS})
    noting.perform()
    assert w.ledger.read().rollback is None
    assert "are verified: nothing is rolled back" in beginning.look().what
