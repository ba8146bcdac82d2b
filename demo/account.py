"""What the demo asks of the AWS account, with the same API that everybody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from demo.settings import ENVIRONMENT, FLEET, OPERATOR_KEY, REGION, DemoError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef

LAYERS = ("base", "application_base", "application")


@dataclass(frozen=True)
class Instance:
    """An instance of the fleet.

    :param healthy: whether it is in service and its target takes requests.
    """

    instance_id: str
    image_id: str
    private_ip: str
    healthy: bool


class Account:
    """What the demo looks at of the account that it deploys in: one environment's fleet and load balancer.

    :param endpoint_url: where its API is.
    :param environment: the environment's name.
    :param fleet: the fleet's name.
    """

    def __init__(self, endpoint_url: str, environment: str = ENVIRONMENT, fleet: str = FLEET) -> None:
        self._environment = environment
        self._group = f"{environment}-{fleet}"
        session = boto3.session.Session(
            aws_access_key_id=OPERATOR_KEY, aws_secret_access_key=OPERATOR_KEY, region_name=REGION
        )
        config = Config(proxies={}, retries={"mode": "standard", "max_attempts": 5})
        self._autoscaling = session.client("autoscaling", endpoint_url=endpoint_url, config=config)
        self._ec2 = session.client("ec2", endpoint_url=endpoint_url, config=config)
        self._s3 = session.client("s3", endpoint_url=endpoint_url, config=config)
        self._elbv2 = session.client("elbv2", endpoint_url=endpoint_url, config=config)

    def instances(self) -> list[Instance]:
        """Describe the instances of the fleet's Auto Scaling group.

        :raises DemoError: if there is no such group.
        """
        groups = self._groups()
        if not groups:
            raise DemoError(f"no Auto Scaling group {self._group} in the account")
        in_service = {
            each["InstanceId"] for each in groups[0]["Instances"] if each["LifecycleState"] == "InService"
        }
        healthy = in_service.intersection(*map(self._healthy_targets, groups[0]["TargetGroupARNs"]))
        ids = [each["InstanceId"] for each in groups[0]["Instances"]]
        if not ids:
            return []
        reservations = self._ec2.describe_instances(InstanceIds=ids)["Reservations"]
        return [
            Instance(
                found["InstanceId"],
                found["ImageId"],
                found["PrivateIpAddress"],
                found["InstanceId"] in healthy,
            )
            for reservation in reservations
            for found in reservation["Instances"]
        ]

    def has_bucket(self, name: str) -> bool:
        """Tell whether a bucket has been made.

        :param name: the bucket.
        """
        return name in {each["Name"] for each in self._s3.list_buckets()["Buckets"]}

    def has_fleet(self) -> bool:
        """Tell whether the fleet's Auto Scaling group has been made."""
        return bool(self._groups())

    def load_balancer_url(self) -> str:
        """Give the address of the environment's load balancer.

        :raises DemoError: if there is none.
        """
        name = self._environment.replace("_", "-")
        found = self._elbv2.describe_load_balancers()["LoadBalancers"]
        balancers = [each for each in found if each["LoadBalancerName"] == name]
        if not balancers:
            raise DemoError(f"no load balancer {name} in the account")
        listeners = self._elbv2.describe_listeners(LoadBalancerArn=balancers[0]["LoadBalancerArn"])[
            "Listeners"
        ]
        return f"http://{balancers[0]['DNSName']}:{listeners[0]['Port']}/"

    def image_ids(self) -> dict[str, str]:
        """Give each layer's newest image; a layer without one is left out.

        Application images belong to an environment, so only those released for it count.
        """
        newest: dict[str, tuple[str, str]] = {}
        images = self._ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "tag-key", "Values": ["bakeroll:layer"]}]
        )["Images"]
        for image in images:
            tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
            layer = tags["bakeroll:layer"]
            if layer == "application" and tags.get(f"bakeroll:{self._environment}") != "released":
                continue
            newest[layer] = max(newest.get(layer, ("", "")), (image["CreationDate"], image["ImageId"]))
        return {layer: image_id for layer, (_, image_id) in newest.items()}

    def _groups(self) -> list[AutoScalingGroupTypeDef]:
        found = self._autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._group])
        return found["AutoScalingGroups"]

    def _healthy_targets(self, target_group_arn: str) -> Iterable[str]:
        described = self._elbv2.describe_target_health(TargetGroupArn=target_group_arn)
        return {
            each["Target"]["Id"]
            for each in described["TargetHealthDescriptions"]
            if each["TargetHealth"]["State"] == "healthy"
        }
