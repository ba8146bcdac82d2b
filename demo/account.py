"""What the demo asks of the AWS account, with the same API that everybody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from demo.settings import OPERATOR_KEY, REGION, DemoError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """The account that the demo deploys in.

    :param endpoint_url: where its API is.
    """

    def __init__(self, endpoint_url: str) -> None:
        session = boto3.session.Session(
            aws_access_key_id=OPERATOR_KEY, aws_secret_access_key=OPERATOR_KEY, region_name=REGION
        )
        config = Config(proxies={}, retries={"mode": "standard", "max_attempts": 5})
        self._autoscaling = session.client("autoscaling", endpoint_url=endpoint_url, config=config)
        self._ec2 = session.client("ec2", endpoint_url=endpoint_url, config=config)
        self._s3 = session.client("s3", endpoint_url=endpoint_url, config=config)
        self._elbv2 = session.client("elbv2", endpoint_url=endpoint_url, config=config)

    def instances(self) -> list[Instance]:
        """Describe the instances of the only Auto Scaling group.

        :raises DemoError: if there is not exactly one group.
        """
        groups = self._autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
        if len(groups) != 1:
            raise DemoError(f"{len(groups)} Auto Scaling groups in the account, expected 1")
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
        """Tell whether an Auto Scaling group has been made."""
        return bool(self._autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"])

    def load_balancer_url(self) -> str:
        """Give the address of the only load balancer's listener.

        :raises DemoError: if there is not exactly one.
        """
        balancers = self._elbv2.describe_load_balancers()["LoadBalancers"]
        if len(balancers) != 1:
            raise DemoError(f"{len(balancers)} load balancers in the account, expected 1")
        listeners = self._elbv2.describe_listeners(LoadBalancerArn=balancers[0]["LoadBalancerArn"])[
            "Listeners"
        ]
        return f"http://{balancers[0]['DNSName']}:{listeners[0]['Port']}/"

    def image_ids(self) -> dict[str, str]:
        """Give each layer's newest image; a layer without one is left out."""
        newest: dict[str, tuple[str, str]] = {}
        images = self._ec2.describe_images(
            Owners=["self"], Filters=[{"Name": "tag-key", "Values": ["bakeroll:layer"]}]
        )["Images"]
        for image in images:
            layer = next(tag["Value"] for tag in image["Tags"] if tag["Key"] == "bakeroll:layer")
            newest[layer] = max(newest.get(layer, ("", "")), (image["CreationDate"], image["ImageId"]))
        return {layer: image_id for layer, (_, image_id) in newest.items()}

    def _healthy_targets(self, target_group_arn: str) -> Iterable[str]:
        described = self._elbv2.describe_target_health(TargetGroupArn=target_group_arn)
        return {
            each["Target"]["Id"]
            for each in described["TargetHealthDescriptions"]
            if each["TargetHealth"]["State"] == "healthy"
        }
