"""What a person does to a run in its middle, and to a release that turns out to be bad: `make rollouts`.

As in the other tests here, each leaves the fleet as it found it but for its version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from demo import repository
from demo.settings import DAG_ID, ENVIRONMENT, FLEET
from tests.end_to_end.running_stage import client
from tests.rollouts.conftest import SIZE, Rollouts

RAISED = (SIZE + 1, SIZE + 1, 2 * SIZE)


@contextmanager
def waiting_in_the_first_wave(rollouts: Rollouts) -> Iterator[tuple[str, str]]:
    """Hold a new run where capacity is raised and the new instance not healthy; gives run and image."""
    before = rollouts.image()
    run_id = rollouts.begin()
    rollouts.until(lambda: rollouts.image() != before, "the new image")
    image_id = rollouts.image()
    rollouts.faults.set_fault(fault="unhealthy", image=image_id, reason="Target.Timeout")
    try:
        rollouts.until(lambda: rollouts.sizes() == RAISED, "raised capacity")
        rollouts.await_state(run_id, f"{FLEET}.wave_1.await_capacity", "running", "deferred")
        yield run_id, image_id
    finally:
        rollouts.faults.clear_faults()


def test_tasks_that_are_cleared_in_the_middle_do_only_the_rest(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    with rollouts.load("cleared") as load, rollouts.watch() as seen:
        with waiting_in_the_first_wave(rollouts) as (run_id, image_id):
            rollouts.clear(run_id, f"{FLEET}.wave_1.scale_out")
            rollouts.await_state(run_id, f"{FLEET}.wave_1.await_capacity", "running", "deferred", tries=2)
            assert rollouts.sizes() == RAISED, "nothing is raised twice"
        rollouts.await_state(run_id, f"{FLEET}.wave_2.drain", "running", "deferred", "success")
        rollouts.clear(run_id, f"{FLEET}.wave_2.retire")
        run, tasks = rollouts.follow(run_id)
    assert run.state == "success"
    assert tasks[f"{FLEET}.wave_2.retire"].try_number > 1
    assert tasks["rollback.begin"].state == "skipped"
    assert load[0].errors == ()
    assert Counter(seen.images.values())[image_id] == SIZE, "no new instance was launched twice"
    rollouts.version = version
    rollouts.assert_as_before()


def test_a_run_that_is_marked_failed_changes_nothing_more_and_the_next_goes_on(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    with rollouts.load("marked-failed") as load, rollouts.watch() as seen:
        with waiting_in_the_first_wave(rollouts) as (run_id, image_id):
            rollouts.running.client.mark_failed(DAG_ID, run_id)
            run, tasks = rollouts.follow(run_id)
            assert run.state == "failed"
            assert tasks["rollback.begin"].state != "success", "the person wants it as it stands"
            assert rollouts.sizes() == RAISED
        run, tasks = rollouts.follow(rollouts.begin())
    assert run.state == "success"
    assert tasks["layers.bake_application"].state == "skipped", "its image is there"
    assert load[0].errors == ()
    assert Counter(seen.images.values())[image_id] == SIZE, "no new instance was launched twice"
    rollouts.version = version
    rollouts.assert_as_before()


def test_going_back_after_a_success_bakes_nothing_and_lasts(rollouts: Rollouts) -> None:
    """As docs/rollback.md says: reject the bad image, take the change back, deploy the good one by its id."""
    good, good_version = rollouts.image(), rollouts.version
    rollouts.commit()
    run, _ = rollouts.follow(rollouts.begin())
    assert run.state == "success"
    bad = rollouts.image()
    assert rollouts.released()[-2:] == [good, bad]
    client(rollouts.settings, "ec2").create_tags(
        Resources=[bad], Tags=[{"Key": f"bakeroll:{ENVIRONMENT}", "Value": "rejected"}]
    )
    with rollouts.load("going-back") as load:
        run, tasks = rollouts.follow(rollouts.begin(ami_id=good))
    assert run.state == "success"
    assert tasks["layers.bake_application"].state == "skipped"
    assert load[0].errors == ()
    assert rollouts.image() == good
    rollouts.version = good_version
    rollouts.assert_as_before()
    run, tasks = rollouts.follow(rollouts.begin())  # the branch still has the change: it is not deployed
    assert run.state == "success"
    assert tasks["terraform.plan"].state == "skipped"
    assert rollouts.image() == good
    repository.commit_version(rollouts.running.repository, good_version)  # the change taken back
    run, tasks = rollouts.follow(rollouts.begin())
    assert run.state == "success"
    assert tasks["layers.bake_application"].state == "success", "another commit is another image"
    rollouts.assert_as_before()
