"""Clients without a wire behave as boto3's do."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.exceptions import ClientError, ParamValidationError, ReadTimeoutError

from sandbox.direct import direct_account
from tests.sandbox.model.conftest import check_shape


@pytest.fixture
def aws():
    return direct_account(1)


def code(caught):
    return caught.value.response["Error"]["Code"]


def test_parameters_are_checked_by_botocores_own_validator(aws):
    with pytest.raises(ParamValidationError, match="Unknown parameter in input"):
        aws.client("autoscaling").describe_auto_scaling_groups(Names=["web"])
    with pytest.raises(ParamValidationError, match="Missing required parameter"):
        aws.client("s3").put_object(Bucket="b")


def test_there_are_only_the_methods_that_boto3_has(aws):
    with pytest.raises(AttributeError, match="no operation describe_groups"):
        aws.client("autoscaling").describe_groups()


def test_what_is_not_modelled_is_refused(aws):
    with pytest.raises(ClientError, match="does not model DescribeVpcs"):
        aws.client("ec2").describe_vpcs()


def test_refusals_are_client_errors_with_the_services_code(aws):
    with pytest.raises(ClientError) as caught:
        aws.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName="gone", MinSize=1)
    assert code(caught) == "ValidationError"
    assert caught.value.operation_name == "UpdateAutoScalingGroup"


def test_objects_are_written_on_their_conditions(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="b")
    tag = s3.put_object(Bucket="b", Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="b", Key="k", Body=b"2", IfNoneMatch="*")
    assert code(caught) == "PreconditionFailed"
    newer = s3.put_object(Bucket="b", Key="k", Body=b"1", IfMatch=tag)["ETag"]
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="b", Key="k", Body=b"3", IfMatch=tag)
    assert code(caught) == "PreconditionFailed"
    with pytest.raises(ClientError) as caught:
        s3.delete_object(Bucket="b", Key="k", IfMatch=tag)
    assert code(caught) == "PreconditionFailed"
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"1"
    s3.delete_object(Bucket="b", Key="k", IfMatch=newer)
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket="b", Key="k")
    assert code(caught) == "NoSuchKey"


def test_throttled_calls_are_tried_again_as_botocore_does(aws):
    aws.faults.set(fault="throttle", action="autoscaling:*", count=2)
    began = aws.clock.now()
    assert aws.client("autoscaling", attempts=3).describe_auto_scaling_groups()["AutoScalingGroups"] == []
    assert aws.clock.now() > began
    aws.faults.set(fault="throttle", action="autoscaling:*", count=2)
    with pytest.raises(ClientError) as caught:
        aws.client("autoscaling", attempts=2).describe_auto_scaling_groups()
    assert code(caught) == "Throttling"


def test_a_lost_answer_is_a_call_that_was_done(aws):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="b")
    aws.faults.set(fault="lost", action="s3:PutObject", count=1, seconds=61)
    with pytest.raises(ReadTimeoutError):
        s3.put_object(Bucket="b", Key="k", Body=b"1")
    assert s3.get_object(Bucket="b", Key="k")["Body"].read() == b"1"


def test_paginators_are_botocores_own(aws):
    pages = list(aws.client("ssm").get_paginator("describe_instance_information").paginate())
    assert pages == [{"InstanceInformationList": []}]


def test_answers_have_the_shapes_of_botocores_model():
    from tools.chaos.plan import FleetPlan, Plan
    from tools.chaos.schedule import Schedule
    from tools.chaos.world import SEEN

    seen = set()

    def look(schedule):
        plain = schedule.world._around

        def around(call, perform):
            answer = plain(call, perform)
            shown = {name: value for name, value in answer.items() if name != SEEN}
            model = botocore.session.get_session().get_service_model(call.service)
            shape = model.operation_model(call.operation).output_shape
            if shape is not None and call.service != "s3":
                check_shape(shape, shown, call.operation)
            seen.add(call.operation)
            return answer

        schedule.world._around = around

    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        schedule = Schedule(Plan(seed=3, fleets=(FleetPlan(size=2, minimum=2, maximum=4),)), Path(folder))
        look(schedule)
        assert schedule.play().violation == ""
    assert {"DescribeTargetHealth", "ListCommandInvocations", "DescribeLaunchTemplateVersions"} <= seen


def test_its_launches_and_machines_fail_as_those_of_any_account(aws):
    aws.templates.put("lt-1", {"ImageId": "ami-1", "InstanceType": "t3.micro"}, name="web")
    autoscaling = aws.client("autoscaling")
    aws.faults.set(fault="launch-failure", group="web", code="VcpuLimitExceeded", count=1)
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="web",
        LaunchTemplate={"LaunchTemplateId": "lt-1", "Version": "1"},
        MinSize=2,
        MaxSize=2,
        VPCZoneIdentifier="subnet-a",
    )
    aws.clock.advance(120)
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName="web")["Activities"]
    assert any("current vCPU limit" in each.get("StatusMessage", "") for each in activities)
    before = {each["InstanceId"] for each in instances(aws)}
    aws.faults.set(fault="death", group="web")
    aws.clock.advance(120)
    after = {each["InstanceId"] for each in instances(aws)}
    assert (len(before), len(before & after), len(after)) == (2, 1, 2)


def instances(aws):
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return groups[0]["Instances"]
