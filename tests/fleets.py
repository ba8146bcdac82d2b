"""Makes what a fleet needs in an account: network, target group behind a listener, launch template, group.

``make_fleet`` does it by calls alone, ``put_fleet`` in a direct account, which has no network to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.direct import DirectAccount

REGION = "ap-northeast-1"
HOOK = "drain"
DIRECT_TEMPLATE = "lt-0123456789abcdef0"
DIRECT_TARGETS = f"arn:aws:elasticloadbalancing:{REGION}:123456789012:targetgroup/web/1"
DIRECT_SUBNETS = ("subnet-a", "subnet-c")


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The names and ids of one made fleet."""

    group: str
    template_id: str
    image_id: str
    target_group_arn: str
    listener_arn: str
    load_balancer_arn: str
    hook: str
    subnet_ids: tuple[str, ...]


def make_fleet(
    aws: Any,
    *,
    name: str = "web",
    image_id: str,
    size: int = 2,
    maximum: int | None = None,
    port: int = 8080,
    deregistration_delay_seconds: int = 10,
    heartbeat_seconds: int = 300,
    default_result: str = "CONTINUE",
    group: dict[str, Any] | None = None,
) -> Fleet:
    """Make a fleet in two availability zones, with a termination hook.

    :param aws: anything with ``client(service)``.
    :param group: more parameters of CreateAutoScalingGroup.
    """
    ec2, elbv2 = aws.client("ec2"), aws.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = tuple(
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"{REGION}{zone}")[
            "Subnet"
        ]["SubnetId"]
        for number, zone in enumerate("ac")
    )
    target_group = elbv2.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=port,
        VpcId=vpc,
        HealthCheckPath="/health",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elbv2.modify_target_group_attributes(
        TargetGroupArn=target_group,
        Attributes=[
            {"Key": "deregistration_delay.timeout_seconds", "Value": str(deregistration_delay_seconds)}
        ],
    )
    balancer = elbv2.create_load_balancer(Name=name, Subnets=list(subnets))["LoadBalancers"][0]
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
    )["Listeners"][0]["ListenerArn"]
    template = ec2.create_launch_template(
        LaunchTemplateName=name,
        LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro"},
    )["LaunchTemplate"]["LaunchTemplateId"]
    _make_group(
        aws,
        name,
        {"LaunchTemplateId": template, "Version": "$Latest"},
        sizes=(size, size if maximum is None else maximum),
        subnets=subnets,
        target_group=target_group,
        hook={"HeartbeatTimeout": heartbeat_seconds, "DefaultResult": default_result},
        more=group or {},
    )
    return Fleet(
        group=name,
        template_id=template,
        image_id=image_id,
        target_group_arn=target_group,
        listener_arn=listener,
        load_balancer_arn=balancer["LoadBalancerArn"],
        hook=HOOK,
        subnet_ids=subnets,
    )


def put_fleet(
    aws: DirectAccount,
    *,
    image_id: str,
    size: int = 2,
    maximum: int | None = None,
    version: str = "$Latest",
    deregistration_delay_seconds: int = 10,
    heartbeat_seconds: int = 300,
    default_result: str = "CONTINUE",
    group: dict[str, Any] | None = None,
) -> Fleet:
    """Make the fleet ``web`` in a direct account, as ``make_fleet`` does; it has no load balancer's ARN.

    :param version: what the group launches from: a number, ``$Latest`` or ``$Default``.
    :param group: more parameters of CreateAutoScalingGroup.
    """
    aws.templates.put(DIRECT_TEMPLATE, {"ImageId": image_id, "InstanceType": "t3.micro"}, name="web")
    aws.target_groups.put(
        DIRECT_TARGETS,
        port=8080,
        interval_seconds=5,
        healthy_threshold=2,
        deregistration_delay_seconds=deregistration_delay_seconds,
    )
    _make_group(
        aws,
        "web",
        {"LaunchTemplateId": DIRECT_TEMPLATE, "Version": version},
        sizes=(size, size if maximum is None else maximum),
        subnets=DIRECT_SUBNETS,
        target_group=DIRECT_TARGETS,
        hook={"HeartbeatTimeout": heartbeat_seconds, "DefaultResult": default_result},
        more=group or {},
    )
    return Fleet(
        group="web",
        template_id=DIRECT_TEMPLATE,
        image_id=image_id,
        target_group_arn=DIRECT_TARGETS,
        listener_arn="",
        load_balancer_arn="",
        hook=HOOK,
        subnet_ids=DIRECT_SUBNETS,
    )


def _make_group(
    aws: Any,
    name: str,
    template: dict[str, str],
    *,
    sizes: tuple[int, int],
    subnets: tuple[str, ...],
    target_group: str,
    hook: dict[str, Any],
    more: dict[str, Any],
) -> None:
    """Make a group that its load balancer's health checks rule, with a termination hook."""
    settings = {
        "AutoScalingGroupName": name,
        "LaunchTemplate": template,
        "MinSize": sizes[0],
        "MaxSize": sizes[1],
        "VPCZoneIdentifier": ",".join(subnets),
        "TargetGroupARNs": [target_group],
        "HealthCheckType": "ELB",
        "HealthCheckGracePeriod": 60,
        "LifecycleHookSpecificationList": [
            {
                "LifecycleHookName": HOOK,
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                **hook,
            }
        ],
    }
    aws.client("autoscaling").create_auto_scaling_group(**settings | more)


def new_version(aws: Any, fleet: Fleet, image_id: str) -> str:
    """Add a launch template version with another image, as the newest; return its number."""
    version = aws.client("ec2").create_launch_template_version(
        LaunchTemplateId=fleet.template_id,
        LaunchTemplateData={"ImageId": image_id, "InstanceType": "t3.micro"},
    )["LaunchTemplateVersion"]["VersionNumber"]
    return str(version)
