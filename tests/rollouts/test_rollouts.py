"""Rollouts that meet trouble, one after the other on the same fleet: `make rollouts`.

Each test leaves the fleet as it found it but for its version, and the next one begins there.
"""

from __future__ import annotations

import json
import subprocess

from demo.settings import ACCESS_KEY, DAG_ID, FLEET, environment
from tests.end_to_end.running_stage import client
from tests.rollouts.conftest import CAPACITY_TIMEOUT_SECONDS, GROUP, SIZE, Rollouts


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
    assert waited.start
    assert waited.end
    assert (waited.end - waited.start).total_seconds() < CAPACITY_TIMEOUT_SECONDS + 60
    assert load[0].errors == ()
    rollouts.assert_as_before()


def test_the_same_content_is_not_deployed_again(rollouts: Rollouts) -> None:
    run, tasks = rollouts.follow(rollouts.begin())
    assert run.state == "success"
    assert tasks["terraform.plan"].state == "skipped"
    assert "rejected" in json.dumps(
        rollouts.running.client.xcom(DAG_ID, run.run_id, "layers.decide")
    ) or "rejected" in rollouts.note(run.run_id)
    rollouts.assert_as_before()


def test_a_terraform_by_hand_after_a_rollback_brings_no_bad_image_back(rollouts: Rollouts) -> None:
    _apply_by_hand(rollouts)
    rollouts.assert_as_before()


def test_a_version_whose_pages_answer_500_is_caught_by_the_gate(rollouts: Rollouts) -> None:
    rollouts.commit("pages")
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
    """And a Terraform by hand in the middle loses no instance."""
    version = rollouts.commit()
    autoscaling = client(rollouts.settings, "autoscaling")
    with rollouts.load("growing") as load:
        run_id = rollouts.begin(pause=True)
        rollouts.await_state(run_id, f"{FLEET}.wave_1.proceed", "deferred", "awaiting_input")
        desired = rollouts.group()["DesiredCapacity"]
        autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=desired + 2)
        rollouts.answer(run_id, 1, "Go on")
        rollouts.answer(run_id, 2, "Go on")
        run, _ = rollouts.follow(run_id)
    assert run.state == "success"
    assert load[0].errors == ()
    rollouts.version = version
    rollouts.assert_as_before((SIZE, SIZE + 2, 2 * SIZE))
    autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=SIZE)


def test_an_instance_that_cannot_be_drained_is_retained_and_people_are_told(rollouts: Rollouts) -> None:
    version = rollouts.commit()
    sns, sqs = client(rollouts.settings, "sns"), client(rollouts.settings, "sqs")
    topic = next(
        one["TopicArn"] for one in sns.list_topics()["Topics"] if one["TopicArn"].endswith("-drain-failures")
    )
    queue = sqs.create_queue(QueueName="a-person")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    victim = rollouts.serving()[0]
    rollouts.faults.set_fault(fault="failed-command", instance=victim.instance_id)
    try:
        run_id = rollouts.begin()
        run, _ = rollouts.follow(run_id)
    finally:
        rollouts.faults.clear_faults()
    assert run.state == "success"
    states = {one["InstanceId"]: one["LifecycleState"] for one in rollouts.group()["Instances"]}
    assert states[victim.instance_id] == "Terminating:Retained"
    told = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
    assert any(victim.instance_id in one["Body"] for one in told)
    assert victim.instance_id in rollouts.note(run_id)
    client(rollouts.settings, "ec2").terminate_instances(InstanceIds=[victim.instance_id])
    rollouts.version = version
    assert rollouts.versions() == {str(version)}


def _apply_by_hand(rollouts: Rollouts) -> None:
    """Run Terraform as a person does, with the image that `ami.tf` looks up."""
    facts = environment(rollouts.settings.checkout)
    root = facts.terraform_root
    variables = {
        **rollouts.running.variables,
        "AWS_ENDPOINT_URL": rollouts.settings.endpoint_url,
        "AWS_ACCESS_KEY_ID": "operator",
        "AWS_SECRET_ACCESS_KEY": "operator",
        "AWS_REGION": "ap-northeast-1",
        "TF_IN_AUTOMATION": "1",
    }
    (root / "by_hand_override.tf").write_text(
        'provider "aws" {\n  s3_use_path_style = true\n  region = var.region\n}\n', encoding="utf-8"
    )
    backend = {
        "bucket": facts.state_bucket,
        "region": "ap-northeast-1",
        "key": f"terraform/{root.name}/terraform.tfstate",
        "use_path_style": "true",
    }
    options = [f"-backend-config={name}={value}" for name, value in backend.items()]
    files = ["-var-file=../common.tfvars", "-var-file=terraform.tfvars"]
    try:
        for argv in (
            ["init", "-input=false", "-reconfigure", *options],
            ["apply", "-input=false", "-auto-approve", *files],
        ):
            done = subprocess.run(
                ["terraform", *argv], cwd=root, env=variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            rollouts.say(done.stdout[-600:])
    finally:
        (root / "by_hand_override.tf").unlink()
