"""Load balancers as boto3 sees them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import Fleet, make_fleet


@pytest.fixture
def aws() -> VirtualAccount:
    return virtual_account(seed=1)


@pytest.fixture
def fleet(aws: VirtualAccount) -> Fleet:
    made = make_fleet(aws, image_id=aws.image("app"), size=2)
    aws.clock.advance(60)
    return made


def health(aws: VirtualAccount, fleet: Fleet) -> dict[str, str]:
    found = aws.client("elbv2").describe_target_health(TargetGroupArn=fleet.target_group_arn)
    return {each["Target"]["Id"]: each["TargetHealth"]["State"] for each in found["TargetHealthDescriptions"]}


def test_a_load_balancer_is_named_by_its_address(aws: VirtualAccount, fleet: Fleet) -> None:
    found = aws.client("elbv2").describe_load_balancers(Names=["web"])["LoadBalancers"][0]
    assert found["DNSName"] == "127.20.0.1"
    assert found["State"]["Code"] == "active"


def test_a_group_registers_its_instances(aws: VirtualAccount, fleet: Fleet) -> None:
    assert list(health(aws, fleet).values()) == ["healthy", "healthy"]


def test_a_deregistered_target_drains_for_the_whole_delay(aws: VirtualAccount, fleet: Fleet) -> None:
    # Source: ELB user guide for Application Load Balancers, "Deregistration delay"
    instance_id = next(iter(health(aws, fleet)))
    elbv2 = aws.client("elbv2")
    elbv2.deregister_targets(TargetGroupArn=fleet.target_group_arn, Targets=[{"Id": instance_id}])
    aws.clock.advance(9)
    assert health(aws, fleet)[instance_id] == "draining"
    aws.clock.advance(2)
    assert instance_id not in health(aws, fleet)
    asked = elbv2.describe_target_health(
        TargetGroupArn=fleet.target_group_arn, Targets=[{"Id": instance_id, "Port": 8080}]
    )["TargetHealthDescriptions"][0]
    assert asked["TargetHealth"]["Reason"] == "Target.NotRegistered"


def test_targets_are_unused_without_a_listener(aws: VirtualAccount, fleet: Fleet) -> None:
    aws.client("elbv2").delete_listener(ListenerArn=fleet.listener_arn)
    assert set(health(aws, fleet).values()) == {"unused"}


def test_what_the_balancer_cannot_do_is_refused(aws: VirtualAccount, fleet: Fleet) -> None:
    elbv2 = aws.client("elbv2")
    with pytest.raises(ClientError, match="does not model"):
        elbv2.create_rule(ListenerArn=fleet.listener_arn, Conditions=[], Priority=1, Actions=[])
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    with pytest.raises(ClientError, match="does not model"):
        elbv2.modify_listener(ListenerArn=fleet.listener_arn, DefaultActions=[fixed])


def test_an_unknown_target_group_is_refused(aws: VirtualAccount) -> None:
    with pytest.raises(ClientError, match="TargetGroupNotFound"):
        aws.client("elbv2").describe_target_health(TargetGroupArn="arn:aws:elasticloadbalancing:x")
