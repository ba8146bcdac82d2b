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


def test_versions_of_launch_templates_are_added_chosen_and_deleted(aws):
    aws.templates.put("lt-1", {"ImageId": "ami-1"}, name="web")
    ec2 = aws.client("ec2")
    for number in (2, 3):
        made = ec2.create_launch_template_version(
            LaunchTemplateId="lt-1", LaunchTemplateData={"ImageId": f"ami-{number}"}
        )["LaunchTemplateVersion"]
        assert (made["VersionNumber"], made["DefaultVersion"]) == (number, False)
    template = ec2.modify_launch_template(LaunchTemplateId="lt-1", DefaultVersion="2")["LaunchTemplate"]
    assert (template["DefaultVersionNumber"], template["LatestVersionNumber"]) == (2, 3)
    answer = ec2.delete_launch_template_versions(LaunchTemplateId="lt-1", Versions=["1", "2", "3", "7"])
    deleted = answer["SuccessfullyDeletedLaunchTemplateVersions"]
    kept = answer["UnsuccessfullyDeletedLaunchTemplateVersions"]
    assert [[one["VersionNumber"] for one in each] for each in (deleted, kept)] == [[1], [2, 3, 7]]
    left = ec2.describe_launch_template_versions(LaunchTemplateId="lt-1")["LaunchTemplateVersions"]
    assert [(one["VersionNumber"], one["LaunchTemplateData"]["ImageId"]) for one in left] == [
        (2, "ami-2"),
        (3, "ami-3"),
    ]
    with pytest.raises(ClientError) as caught:
        ec2.create_launch_template_version(LaunchTemplateId="lt-2", LaunchTemplateData={"ImageId": "ami-1"})
    assert code(caught) == "InvalidLaunchTemplateId.NotFound"
    with pytest.raises(ClientError, match="does not model SourceVersion"):
        ec2.create_launch_template_version(
            LaunchTemplateId="lt-1", SourceVersion="2", LaunchTemplateData={"ImageId": "ami-1"}
        )


def test_an_image_that_is_deregistered_is_gone_and_others_are_not(aws):
    ec2 = aws.client("ec2")
    gone, stays = aws.image("one", {"a": "b"}), aws.image("two")
    ec2.deregister_image(ImageId=gone)
    later = aws.image("three")
    assert aws.records.images == {stays, later}
    found = ec2.describe_images(Owners=["self"], Filters=[{"Name": "image-id", "Values": [gone, stays]}])
    assert [(one["ImageId"], one["Name"]) for one in found["Images"]] == [(stays, "two")]
    with pytest.raises(ClientError) as caught:
        ec2.deregister_image(ImageId=gone)
    assert code(caught) == "InvalidAMIID.NotFound"


def test_a_topic_that_is_not_there_takes_no_message(aws):
    sns = aws.client("sns")
    there, other = (aws.account.arn("sns", name) for name in ("there", "other"))
    sns.publish(TopicArn=other, Message="any topic takes it until some are made")
    aws.published.topics = {there}
    sns.publish(TopicArn=there, Message="1")
    with pytest.raises(ClientError) as caught:
        sns.publish(TopicArn=other, Message="2")
    assert code(caught) == "NotFound"
    assert len(aws.published.messages) == 2


def test_filters_that_are_not_modelled_are_refused_and_not_left_out(aws):
    with pytest.raises(ClientError, match="does not model filters of DescribeInstances"):
        aws.client("ec2").describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
