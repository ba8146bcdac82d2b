"""Rollouts that meet trouble, one after the other on the same fleet: `make rollouts`.

Each test leaves the fleet as it found it but for its version, and the next one begins there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from demo import collector, log_lines, services, stage
from demo.settings import ACCESS_KEY, DAG_ID, ENVIRONMENT, FLEET
from tests.end_to_end.running_stage import client
from tests.rollouts.by_hand import terraform
from tests.rollouts.conftest import CAPACITY_TIMEOUT_SECONDS, GROUP, SIZE, Rollouts

NOTICED_SECONDS = 60
"""How much later than its capacity timeout a run that cannot succeed may be red."""


def test_three_waves_paused_after_the_first_then_gone_on(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    with rollouts.load("waves") as load:
        run_id = rollouts.begin(pause=True)
        rollouts.await_state(run_id, f"{FLEET}.wave_1.proceed", "deferred", "awaiting_input")
        assert rollouts.versions() == {str(rollouts.version), str(version)}
        rollouts.answer(run_id, 1, "Go on")
        rollouts.answer(run_id, 2, "Go on")
        run, _ = rollouts.follow(run_id)
    assert run.state == "success"
    assert load[0].errors == ()
    rollouts.version = version
    rollouts.assert_as_before()


def test_aborted_after_the_second_wave(rollouts: Rollouts) -> None:
    rollouts.commit()
    with rollouts.load("abort") as load:
        run_id = rollouts.begin(pause=True)
        rollouts.answer(run_id, 1, "Go on")
        rollouts.answer(run_id, 2, "Abort")
        run, tasks = rollouts.follow(run_id)
    assert run.state == "failed"
    assert tasks["rollback.close"].state == "success"
    assert load[0].errors == ()
    rollouts.assert_as_before()
    assert "abort" in rollouts.note(run_id).lower()


def test_a_version_that_never_gets_healthy_is_rolled_back(rollouts: Rollouts) -> None:
    rollouts.commit("health")
    with rollouts.load("sick") as load:
        run_id = rollouts.begin()
        run, tasks = rollouts.follow(run_id)
    assert run.state == "failed"
    waited = tasks[f"{FLEET}.wave_1.await_capacity"]
    assert waited.state == "failed"
    assert waited.end
    raised, back = tasks[f"{FLEET}.wave_1.scale_out"].end, tasks["rollback.close"].end
    assert raised
    assert back
    red = (rollouts.ended(run_id) - raised).total_seconds()
    rollouts.say(
        f"since capacity was raised: given up after {(waited.end - raised).total_seconds():.0f} s, "
        f"back after {(back - raised).total_seconds():.0f} s, the run red after {red:.0f} s"
    )
    assert load[0].errors == ()
    rollouts.assert_as_before()
    # A run is red when its last task has ended, and those are the rollback's.
    assert red < CAPACITY_TIMEOUT_SECONDS + NOTICED_SECONDS


def test_the_next_scheduled_run_does_not_deploy_the_same_content_again(rollouts: Rollouts) -> None:
    with rollouts.schedule() as run_id:
        run, tasks = rollouts.follow(run_id)
    assert run.state == "success"
    assert tasks["terraform.plan"].state == "skipped"
    assert "rejected" in json.dumps(
        rollouts.running.client.xcom(DAG_ID, run.run_id, "layers.decide")
    ) or "rejected" in rollouts.note(run.run_id)
    rollouts.assert_as_before()


def test_a_terraform_by_hand_after_a_rollback_brings_no_bad_image_back(rollouts: Rollouts) -> None:
    before = _ids(rollouts)
    with terraform(rollouts) as by_hand:
        by_hand.apply()
    rollouts.assert_as_before()
    assert _ids(rollouts) == before


def test_a_version_whose_pages_answer_500_is_caught_by_the_gate(rollouts: Rollouts) -> None:
    rollouts.commit("pages")
    with rollouts.load("pages"):  # of which a part fails until the gate has seen it
        run, tasks = rollouts.follow(rollouts.begin())
    assert run.state == "failed"
    assert tasks[f"{FLEET}.wave_1.await_capacity"].state == "success", "its health check is green"
    assert tasks[f"{FLEET}.wave_1.gate"].state == "failed"
    rollouts.assert_as_before()
    assert "500" in rollouts.note(run.run_id)


def test_a_fifth_of_all_calls_throttled(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    rollouts.faults.set_fault(fault="throttle", action="*", rate=0.2, principal=ACCESS_KEY)
    try:
        with rollouts.load("throttled") as load:
            run, _ = rollouts.follow(rollouts.begin())
    finally:
        rollouts.faults.clear_faults()
    assert run.state == "success"
    assert load[0].errors == ()
    rollouts.version = version
    rollouts.assert_as_before()


def test_capacity_that_somebody_adds_meanwhile_stays(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    with rollouts.load("growing") as load:
        run_id = rollouts.begin(pause=True)
        rollouts.await_state(run_id, f"{FLEET}.wave_1.proceed", "deferred", "awaiting_input")
        _want(rollouts, rollouts.sizes()[1] + 2)
        rollouts.answer(run_id, 1, "Go on")
        rollouts.answer(run_id, 2, "Go on")
        run, _ = rollouts.follow(run_id)
    assert run.state == "success"
    assert load[0].errors == ()
    rollouts.version = version
    rollouts.assert_as_before((SIZE, SIZE + 2, 2 * SIZE))
    _want(rollouts, SIZE)
    rollouts.await_sizes((SIZE, SIZE, 2 * SIZE))


def test_a_policy_that_scales_in_meanwhile_takes_nothing(rollouts: Rollouts) -> None:
    """Twice the instances have half the load each: its alarm wants fewer all the time."""
    version = rollouts.commit()
    before = _ids(rollouts)
    with rollouts.load("policy") as load, rollouts.watch() as seen:
        rollouts.faults.set_fault(fault="scaling-policy", group=GROUP, to=SIZE // 2, every=2)
        try:
            run, _ = rollouts.follow(rollouts.begin())
            assert run.state == "success"
            rollouts.version = version
            rollouts.assert_as_before()
            new = {one for one in list(seen.images) if one not in before}
            assert new == _ids(rollouts), "each instance that was launched is there still"
            _want(rollouts, SIZE + 1)
            rollouts.await_sizes((SIZE, SIZE, 2 * SIZE))  # so it was awake, and takes what it may
        finally:
            rollouts.faults.clear_faults()
    assert load[0].errors == ()
    assert max(seen.desired) > SIZE
    assert min(seen.desired) == SIZE
    new = {one for one in seen.images if one not in before}


def test_a_terraform_by_hand_while_capacity_is_raised_loses_no_instance(rollouts: Rollouts) -> None:
    """It puts MinSize back to the file's, in the middle of a wave; what the group launches stays."""
    version = rollouts.commit()
    with rollouts.load("by-hand") as load, rollouts.watch() as seen, terraform(rollouts) as by_hand:
        before = rollouts.image()
        run_id = rollouts.begin()
        rollouts.until(lambda: rollouts.image() != before, "the new image")
        image_id = rollouts.image()
        # So the wave waits for its new instance meanwhile.
        rollouts.faults.set_fault(fault="unhealthy", image=image_id, reason="Target.Timeout")
        try:
            rollouts.until(lambda: rollouts.sizes() == (SIZE + 1, SIZE + 1, 2 * SIZE), "raised capacity")
            by_hand.apply(image_id=image_id)
            assert rollouts.sizes() == (SIZE, SIZE + 1, 2 * SIZE)
        finally:
            rollouts.faults.clear_faults()
        run, _ = rollouts.follow(run_id)
    assert run.state == "success"
    assert load[0].errors == ()
    assert Counter(seen.images.values())[image_id] == SIZE, "no new instance was launched twice"
    rollouts.version = version
    rollouts.assert_as_before()


def test_a_terraform_by_hand_to_the_image_before_ends_the_rollout(rollouts: Rollouts) -> None:
    """As `ami.tf` looks up the newest released image, which the one that is being rolled out is not yet."""
    rollouts.commit()
    released = rollouts.image()
    with rollouts.load("back-by-hand") as load:
        run_id = rollouts.begin(pause=True)
        rollouts.await_state(run_id, f"{FLEET}.wave_1.proceed", "deferred", "awaiting_input")
        image_id = rollouts.image()
        _want(rollouts, SIZE + 2)
        before = _ids(rollouts)
        with terraform(rollouts) as by_hand:
            by_hand.apply()
        assert rollouts.sizes() == (SIZE, SIZE + 2, 2 * SIZE)
        assert before <= _ids(rollouts)
        assert rollouts.image() == released != image_id
        rollouts.answer(run_id, 1, "Go on")
        run, tasks = rollouts.follow(run_id)
    assert run.state == "failed"
    assert tasks[f"{FLEET}.wave_2.scale_out"].state == "failed"
    assert tasks["rollback.close"].state == "success"
    assert f"launches image {released}, and image {image_id} is rolled out" in rollouts.note(run_id)
    assert load[0].errors == ()
    rollouts.assert_as_before((SIZE, SIZE + 2, 2 * SIZE))
    assert _judged(rollouts, released) == "released"
    assert _judged(rollouts, image_id) == "rejected"
    _want(rollouts, SIZE)
    rollouts.await_sizes((SIZE, SIZE, 2 * SIZE))


def test_a_failed_flush_leaves_the_instance_with_its_lines_and_people_are_told(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    messages = _subscribe(rollouts)
    with rollouts.load("unflushed") as load:
        services.stop(rollouts.settings.build, only="collector")
        try:
            run_id = rollouts.begin(pause=True)
            rollouts.await_state(run_id, f"{FLEET}.wave_1.proceed", "deferred", "awaiting_input")
            states = {one["InstanceId"]: one["LifecycleState"] for one in rollouts.group()["Instances"]}
            (retained,) = [one for one, state in states.items() if state == "Terminating:Retained"]
            taken = collector.request_ids(rollouts.settings.collected)
            kept = _on_disk(rollouts, retained)
        finally:
            stage.start_collector(rollouts.settings)
        assert kept, "the lines of its requests"
        assert not kept & taken.keys()
        assert any(retained in one for one in messages())
        rollouts.answer(run_id, 1, "Go on")
        rollouts.answer(run_id, 2, "Go on")
        run, _ = rollouts.follow(run_id)
    assert run.state == "success"
    assert f"{retained} (retained)" in rollouts.note(run_id)
    assert load[0].errors == ()
    outcomes = (rollouts.settings.build / "load" / "unflushed.jsonl").read_text(encoding="utf-8").splitlines()
    answered = [one for one in map(json.loads, outcomes) if one["error"] is None]
    theirs = {one["request_id"] for one in answered if one["hostname"] == _hostname(rollouts, retained)}
    assert theirs
    assert theirs <= kept, "each answer of its has its line there"
    rollouts.say(f"{retained} kept {len(kept)} lines, {len(theirs)} of them of this load")
    rollouts.version = version
    _save(rollouts, retained, {one["request_id"] for one in answered})
    rollouts.assert_as_before()


def _ids(rollouts: Rollouts) -> set[str]:
    return {one.instance_id for one in rollouts.serving()}


def _want(rollouts: Rollouts, capacity: int) -> None:
    """Set desired capacity, as somebody else."""
    client(rollouts.settings, "autoscaling").set_desired_capacity(
        AutoScalingGroupName=GROUP, DesiredCapacity=capacity
    )


def _judged(rollouts: Rollouts, image_id: str) -> str:
    (image,) = client(rollouts.settings, "ec2").describe_images(ImageIds=[image_id])["Images"]
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    return str(tags[f"bakeroll:{ENVIRONMENT}"])


def _subscribe(rollouts: Rollouts) -> Callable[[], list[str]]:
    """Subscribe to the messages of failed drains, as a person does; gives what reads those that came."""
    sns, sqs = client(rollouts.settings, "sns"), client(rollouts.settings, "sqs")
    topics = [one["TopicArn"] for one in sns.list_topics()["Topics"]]
    queue = sqs.create_queue(QueueName="a-person")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    (topic,) = [one for one in topics if one.endswith("-drain-failures")]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def read() -> list[str]:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        return [str(one["Body"]) for one in found.get("Messages", [])]

    return read


def _machine(rollouts: Rollouts, instance_id: str) -> Path:
    return rollouts.settings.build / "sandbox/machines/machines" / instance_id


def _hostname(rollouts: Rollouts, instance_id: str) -> str:
    plan = json.loads((_machine(rollouts, instance_id) / "plan.json").read_text(encoding="utf-8"))
    return str(plan["hostname"])


def _on_disk(rollouts: Rollouts, instance_id: str) -> set[str]:
    """Name the requests whose lines lie in an instance's Fluentd buffer, on its own disk."""
    folder = _machine(rollouts, instance_id) / "upper/var/lib/fluentd/buffer"
    lines = [line for file in folder.glob("buffer.*.log") for line in file.read_text().splitlines()]
    return {str(json.loads(line)["request_id"]) for line in lines}


def _save(rollouts: Rollouts, instance_id: str, answered: set[str]) -> None:
    """Save what a retained instance holds and let it go, as docs/drains.md says: the collector is mended."""
    addresses = [one.private_ip for one in rollouts.account.instances()]

    def collected() -> Counter[str]:
        found = collector.request_ids(rollouts.settings.collected)
        return Counter({one: found[one] for one in answered & found.keys()})

    lines = log_lines.bring_in(addresses, answered, collected)
    assert lines.equal, lines
    client(rollouts.settings, "autoscaling").terminate_instance_in_auto_scaling_group(
        InstanceId=instance_id, ShouldDecrementDesiredCapacity=False
    )
    rollouts.await_sizes((SIZE, SIZE, 2 * SIZE))
