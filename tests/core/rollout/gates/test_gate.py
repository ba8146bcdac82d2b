"""What opens a gate, what shuts it, and what the person who looks is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import EndpointConnectionError

from bakeroll.core.errors import GateError
from bakeroll.core.gate_settings import Gate as Settings
from bakeroll.core.gate_settings import HttpCheck
from bakeroll.core.rollout.gates import Gate, http_check
from bakeroll.core.rollout.preflight import gate_check
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut
from bakeroll.core.steps import Act, Done, Wait
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.gates.application import Page, application
from tests.core.rollout.harness import CAPACITY_TIMEOUT, ledger, receipt, wired_world, world

SOAK = 120
ALARM = {
    "EvaluationPeriods": 1,
    "ComparisonOperator": "GreaterThanThreshold",
    "Namespace": "AWS/ApplicationELB",
    "MetricName": "HTTPCode_Target_5XX_Count",
    "Period": 60,
    "Statistic": "Sum",
    "Threshold": 1.0,
}
SICK = Behaviour(
    answer=receipt,
    check=CheckResult(
        healthy=False,
        reason="Target.ResponseCodeMismatch",
        description="Health checks failed with these codes: [500]",
    ),
)


def scaled_out(size=2, *, make=world, **group):
    """Return a world whose new instances serve beside the old ones."""
    w = make(size, maximum=size, **group)
    w.image = w.release()
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    return w


def gate(w, of=None, wave=1, **settings):
    if "http" in settings:
        settings["http"] = {"timeout": "30s", **settings["http"]}  # whatever else this machine does
    asked = Settings.model_validate({"soak": f"{SOAK}s", **settings})
    return Gate(w.clients, of or w.ledger, "web", wave=wave, timeout=CAPACITY_TIMEOUT, gate=asked)


def at(w, seconds, do):
    """Do something once, so many seconds from now."""
    when = w.aws.clock.now() + seconds
    left = [do]

    def on_pass(w):
        if left and w.aws.clock.now() >= when:
            left.pop()(w)

    w.on_pass = on_pass


def patient(w):
    """Let Auto Scaling replace nothing."""
    w.clients.autoscaling.suspend_processes(
        AutoScalingGroupName=w.made.group, ScalingProcesses=["ReplaceUnhealthy"]
    )


def new_ids(w):
    return sorted(one.instance_id for one in w.picture().current)


def fails(w, step):
    """Run a gate that has to fail; returns what it says, and after how many seconds."""
    began = w.aws.clock.now()
    with pytest.raises(GateError) as failure:
        w.run(step)
    assert w.picture().ready_count >= w.size, "the old instances serve on"
    return str(failure.value), w.aws.clock.now() - began


def test_healthy_instances_pass_after_the_soak():
    w = scaled_out()
    began = w.aws.clock.now()
    result = w.run(gate(w))
    assert SOAK <= w.aws.clock.now() - began <= SOAK + 16
    assert result["instances"] == new_ids(w)
    assert result["seconds"] >= SOAK
    w.run(w.step(Retire))


def test_without_a_gate_in_the_file_nothing_is_waited_for():
    w = scaled_out()
    assert isinstance(gate(w, soak="0s").look(), Done)
    assert w.record().gate is None


def test_a_fleet_of_which_nothing_moved_is_not_watched():
    w = world()
    assert isinstance(gate(w).look(), Done)


def test_the_instances_of_a_first_deployment_are_watched():
    w = world()
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"template_before": None}))
    began = w.aws.clock.now()
    assert len(w.run(gate(w))["instances"]) == 2
    assert w.aws.clock.now() - began >= SOAK


def test_a_target_that_turns_unhealthy_in_the_soak_fails_with_its_reason():
    w = scaled_out()
    ids = new_ids(w)
    patient(w)
    at(w, 60, lambda w: w.aws.hypervisor.images.update({w.image: SICK}))
    said, seconds = fails(w, gate(w))
    assert 60 <= seconds < SOAK
    assert any(f"new instance {each} did not stay healthy: target unhealthy" in said for each in ids)
    assert "Target.ResponseCodeMismatch Health checks failed with these codes: [500]" in said


def test_what_failed_once_has_failed_also_if_it_looks_well_again():
    """A trigger that saw it leaves the rest to the operator, which looks some seconds later."""
    w = scaled_out()
    step = gate(w)
    act = step.look()
    assert isinstance(act, Act)
    act.perform()
    w.aws.hypervisor.images[w.image] = SICK
    w.settle(20)
    with pytest.raises(GateError, match=r"\[500\]"):
        step.look()
    w.aws.hypervisor.images[w.image] = Behaviour(answer=receipt)
    w.settle(300)
    with pytest.raises(GateError, match=r"\[500\]"):
        gate(w).look()


def test_an_unhealthy_instance_that_aws_has_already_replaced_fails_the_gate():
    w = scaled_out()
    step = gate(w)
    step.look().perform()
    victim = new_ids(w)[0]
    w.settle(70)  # its grace period is over
    w.aws.hypervisor.instances[victim] = SICK
    w.settle(400)  # the drain hook times out too
    assert victim not in {one.instance_id for one in w.picture().instances}
    said, _ = fails(w, step)
    assert victim in said
    assert "ELB system health check failure" in said


def test_a_new_instance_that_ec2_loses_is_replaced_and_the_gate_waits():
    w = scaled_out()
    victim = new_ids(w)[0]
    at(w, 90, lambda w: w.aws.hypervisor.crash(victim))
    began = w.aws.clock.now()
    result = w.run(gate(w))
    assert w.picture().ready_current == 2
    assert len(result["instances"]) == 3, "the replacement was watched as well"
    assert w.aws.clock.now() - began > SOAK
    assert any("1 of 2 in service" in line for line in w.log)


def test_a_replacement_that_never_serves_is_not_waited_for_for_ever():
    w = scaled_out()
    victim = new_ids(w)[0]

    def lose(w):
        w.aws.hypervisor.images[w.image] = Behaviour(boot_seconds=10**6)
        w.aws.hypervisor.crash(victim)

    at(w, 90, lose)
    said, seconds = fails(w, gate(w))
    assert "the gate does not open, 600 s after its soak: 1 of 2 in service, 1 booting" in said
    assert seconds == pytest.approx(SOAK + 600, abs=16)


def test_instances_that_a_policy_adds_in_the_soak_are_watched_too():
    w = scaled_out(size=2)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=w.made.group, MaxSize=8)

    def add(w):
        w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName=w.made.group, DesiredCapacity=6)

    at(w, 10, add)
    result = w.run(gate(w))
    assert sorted(result["instances"]) == new_ids(w)
    assert len(result["instances"]) == 4


def test_one_that_a_policy_added_fails_the_gate_as_any_other():
    w = scaled_out(size=2)
    before = new_ids(w)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=w.made.group, MaxSize=8)
    w.clients.autoscaling.set_desired_capacity(AutoScalingGroupName=w.made.group, DesiredCapacity=5)
    w.settle(60)
    (added,) = set(new_ids(w)) - set(before)
    at(w, 60, lambda w: w.aws.hypervisor.instances.update({added: SICK}))
    said, _ = fails(w, gate(w))
    assert added in said


def test_an_instance_put_into_standby_is_a_persons_business():
    w = scaled_out()

    def put_aside(w):
        w.clients.autoscaling.enter_standby(
            AutoScalingGroupName=w.made.group,
            InstanceIds=new_ids(w)[:1],
            ShouldDecrementDesiredCapacity=False,
        )

    at(w, 30, put_aside)
    assert len(w.run(gate(w))["instances"]) == 3


def test_a_retry_does_not_start_the_soak_again():
    w = scaled_out()
    began = w.aws.clock.now()
    for _ in range(6):  # each time a new process
        step = gate(w, ledger(w.aws, "run-1"))
        decision = step.look()
        if isinstance(decision, Act):
            decision.perform()
        w.settle(20)
    w.run(gate(w))
    assert w.aws.clock.now() - began <= SOAK + 2


def test_two_at_once_do_no_harm():
    """A trigger may run twice, and beside an operator that was taken for dead."""
    w = scaled_out()
    first, second = gate(w), gate(w, ledger(w.aws, "run-1"))
    acts = [first.look(), second.look()]
    acts[0].perform()
    began = w.record().gate
    w.settle(10)
    acts[1].perform()
    assert w.record().gate == began
    w.settle(60)
    w.aws.hypervisor.images[w.image] = SICK
    patient(w)
    w.settle(20)
    said = []
    for step in (first, second):
        with pytest.raises(GateError) as failure:
            step.look()
        said.append(str(failure.value))
    assert said[0] == said[1], "the first word stands"


def test_the_watch_survives_a_kill_and_a_lost_answer_at_every_call():
    w = scaled_out()
    kept = w.clients.s3.put_object
    for lost in range(3):

        def put(lost=lost, **given):
            kept(**given)
            raise EndpointConnectionError(endpoint_url=f"lost {lost}")

        w.clients.s3.put_object = put
        try:
            decision = gate(w).look()
            if isinstance(decision, Act):
                decision.perform()
        except EndpointConnectionError:
            pass
        w.clients.s3.put_object = kept
        w.settle(10)
    began = w.record().gate
    assert began is not None
    result = w.run(gate(w))
    assert result["instances"] == new_ids(w)
    assert w.record().gate == began


def test_a_person_who_clears_a_failed_gate_gets_a_whole_soak():
    w = scaled_out()
    at(w, 60, lambda w: w.aws.hypervisor.images.update({w.image: SICK}))
    fails(w, gate(w))
    w.on_pass = None
    w.aws.hypervisor.images[w.image] = Behaviour(answer=receipt)
    w.settle(400)
    w.ledger.forget_deadline("web", "wave_1.gate")
    began = w.aws.clock.now()
    w.run(gate(w))
    assert w.aws.clock.now() - began >= SOAK


def test_a_new_run_gets_a_whole_soak_too():
    w = scaled_out()
    gate(w).look().perform()
    w.settle(SOAK + 61)
    heir = ledger(w.aws, "run-2")
    heir.take_over(1)
    began = w.aws.clock.now()
    w.run(gate(w, heir))
    assert w.aws.clock.now() - began >= SOAK


def test_a_wave_that_adds_nothing_is_not_watched_again():
    w = scaled_out()
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"waves": ("100%", "100%")}))
    w.run(gate(w))
    second = gate(w, wave=2).look()
    assert isinstance(second, Done)
    assert "no new instance since the wave before" in second.what
    assert isinstance(gate(w, wave=1).look(), Done), "looked at once more where it is cleared"


def test_instances_that_stop_serving_before_the_soak_begins_are_named():
    w = scaled_out()
    patient(w)
    w.aws.hypervisor.images[w.image] = SICK
    w.settle(20)
    said, seconds = fails(w, gate(w))
    assert "new instances stopped serving before they could be watched: only 0 of 2 in service" in said
    assert "[500]" in said
    assert seconds == pytest.approx(600, abs=16)


@pytest.mark.parametrize("composite", [False, True])
def test_an_alarm_in_the_soak_fails_with_its_reason(composite):
    w = scaled_out(make=wired_world)
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)
    w.clients.cloudwatch.put_composite_alarm(AlarmName="service", AlarmRule="ALARM(errors)")
    reason = "Threshold Crossed: 1 datapoint [7.0] was greater than the threshold (1.0)."

    def ring(w):
        w.clients.cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason=reason)

    at(w, 60, ring)
    said, seconds = fails(w, gate(w, alarms=["service" if composite else "errors"]))
    assert 60 <= seconds < SOAK
    if composite:
        assert "alarm service is in ALARM: " in said
        assert "transitioned to ALARM" in said
    else:
        assert said.endswith(f"alarm errors is in ALARM: {reason}")


def test_quiet_alarms_pass():
    w = scaled_out(make=wired_world)
    for number in range(70):  # more than a page
        w.clients.cloudwatch.put_metric_alarm(AlarmName=f"alarm-{number}", **ALARM)
    w.run(gate(w, alarms=[f"alarm-{number}" for number in range(70)]))
    assert "70 alarms quiet" in w.log[-1]


def test_a_missing_alarm_is_an_error():
    w = scaled_out(make=wired_world)
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)
    said, _ = fails(w, gate(w, alarms=["errors", "latency"]))
    assert "there is no CloudWatch alarm latency in this account and region" in said


def test_an_alarm_that_is_deleted_in_the_soak_is_an_error():
    w = scaled_out(make=wired_world)
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)
    at(w, 60, lambda w: w.clients.cloudwatch.delete_alarms(AlarmNames=["errors"]))
    said, seconds = fails(w, gate(w, alarms=["errors"]))
    assert "there is no CloudWatch alarm errors" in said
    assert seconds >= 60


def without_data(w, name="errors"):
    w.clients.cloudwatch.put_metric_alarm(AlarmName=name, **ALARM)
    w.clients.cloudwatch.set_alarm_state(
        AlarmName=name, StateValue="INSUFFICIENT_DATA", StateReason="Insufficient Data: no datapoints"
    )


def test_insufficient_data_is_ok():
    w = scaled_out(make=wired_world)
    without_data(w)
    began = w.aws.clock.now()
    w.run(gate(w, alarms=["errors"], insufficient_data="ok"))
    assert w.aws.clock.now() - began <= SOAK + 16


def test_insufficient_data_fails():
    w = scaled_out(make=wired_world)
    without_data(w)
    said, seconds = fails(w, gate(w, alarms=["errors"], insufficient_data="fail"))
    assert "alarm errors has INSUFFICIENT_DATA: Insufficient Data: no datapoints" in said
    assert seconds < 5


def test_insufficient_data_is_waited_out():
    w = scaled_out(make=wired_world)
    without_data(w)

    def measure(w):
        w.clients.cloudwatch.set_alarm_state(AlarmName="errors", StateValue="OK", StateReason="ok")

    at(w, SOAK + 60, measure)
    began = w.aws.clock.now()
    w.run(gate(w, alarms=["errors"], insufficient_data="wait"))
    assert SOAK + 60 <= w.aws.clock.now() - began <= SOAK + 80
    assert any("alarm errors has INSUFFICIENT_DATA" in line for line in w.log)


def test_insufficient_data_is_not_waited_out_for_ever():
    w = scaled_out(make=wired_world)
    without_data(w)
    said, seconds = fails(w, gate(w, alarms=["errors"]))
    assert "the gate does not open, 600 s after its soak: alarm errors has INSUFFICIENT_DATA" in said
    assert seconds == pytest.approx(SOAK + 600, abs=16)


def serve(w, server, new, old=None):
    """Let the server answer as whichever healthy target's turn it is."""

    def pages():
        targets = w.aws.account.targets.health(w.made.target_group_arn)
        ids = sorted(target.instance_id for target in targets if target.state == "healthy")
        images = [w.aws.account.instances.get(each).spec.image_id for each in ids]
        return [new if image == w.image else (old or Page()) for image in images]

    server.pages = pages


def test_a_version_whose_health_check_is_green_while_its_pages_answer_500_is_caught():
    w = scaled_out()
    with application() as server:
        serve(w, server, Page(500, "Traceback: no such table"))
        said, seconds = fails(w, gate(w, http={"url": server.url, "path": "/orders?id=1"}))
    assert seconds < 5
    assert f"GET /orders?id=1 at {server.url} answered 500, expected 200: Traceback: no such table" in said
    assert w.picture().ready_current == 2, "the health checks see nothing"


def test_pages_that_turn_bad_in_the_soak_are_caught():
    w = scaled_out()
    with application() as server:
        serve(w, server, Page())
        at(w, 60, lambda w: serve(w, server, Page(503, "")))
        said, seconds = fails(w, gate(w, http={"url": server.url}))
    assert 60 <= seconds < SOAK
    assert "answered 503, expected 200" in said


def test_more_is_asked_where_old_instances_answer_much():
    """A row of right answers may come from old ones: it misses a bad version once in 1000 at the most."""
    w = scaled_out()
    check = HttpCheck(consecutive=3)
    assert http_check.requests_needed(check, 2, 2) == 3, "only new ones answer"
    assert http_check.requests_needed(check, 1, 2) == 10
    assert http_check.requests_needed(check, 1, 9) == 59
    assert http_check.requests_needed(check, 1, 1001) == 500, "the most"
    assert http_check.requests_needed(HttpCheck(consecutive=50), 1, 2) == 50
    with application() as server:
        w.run(gate(w, soak="0s", http={"url": server.url, "consecutive": 3}))
        assert len(server.asked) == 10


def test_what_answers_is_found_through_the_target_group():
    w = scaled_out(make=wired_world)
    step = gate(w, soak="0s", http={"host": "www.example.com"})
    step.look().perform()
    with pytest.raises(GateError) as failure:
        step.look()
    address = w.clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["DNSName"]
    assert f"GET / at http://{address}:80 answered nothing" in str(failure.value)


def test_the_soak_goes_on_while_its_lease_is_renewed():
    w = scaled_out()
    w.run(gate(w, soak="15m"))
    journal = w.ledger.peek()
    assert journal is not None
    assert journal.lease_until > w.aws.clock.now()


def test_a_wait_says_how_far_it_is():
    w = scaled_out()
    step = gate(w)
    step.look().perform()
    w.settle(30)
    wait = step.look()
    assert isinstance(wait, Wait)
    assert wait.why == "2 new instances watched, 30 s of 120 s"


def test_durations_are_what_the_file_says():
    assert Settings.model_validate({"soak": "2m"}).soak == timedelta(minutes=2)


def problems(w, **settings):
    return gate_check.problems(w.clients, w.made.group, Settings.model_validate(settings))


def test_what_cannot_be_asked_is_said_before_anything_moves():
    w = wired_world()
    w.clients.cloudwatch.put_metric_alarm(AlarmName="errors", **ALARM)
    assert problems(w) == []
    assert problems(w, alarms=["errors"], http={}) == []
    (missing,) = problems(w, alarms=["latency", "errors"])
    assert missing.startswith("there is no CloudWatch alarm latency in this account and region; make it")


def test_a_listener_with_tls_needs_its_certificates_name():
    w = wired_world()
    w.clients.elbv2.delete_listener(ListenerArn=w.made.listener_arn)
    (nowhere,) = problems(w, http={})
    assert nowhere.startswith("gate.http finds no listener whose default action forwards to a target group")
    w.aws.cloud.moto.call(  # the sandbox's balancer speaks no TLS, AWS's does
        "elbv2",
        "CreateListener",
        {
            "LoadBalancerArn": w.made.load_balancer_arn,
            "Protocol": "HTTPS",
            "Port": 443,
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": w.made.target_group_arn}],
        },
    )
    (nameless,) = problems(w, http={})
    assert "speaks TLS, and its certificate is for a name of yours: write it as gate.http.host" in nameless
    assert problems(w, http={"host": "www.example.com"}) == []
    assert problems(w, http={"url": "https://www.example.com"}) == []
