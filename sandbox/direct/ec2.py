"""What a rollout asks of EC2: images and their tags, consoles, instances."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.direct.client import Handler, Params
from sandbox.memory import MemoryRecords
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError

USER_INITIATED = "Client.UserInitiatedShutdown: User initiated shutdown"


class DirectEc2:
    """EC2's handlers over the model and the records in memory."""

    def __init__(self, account: Account, records: MemoryRecords) -> None:
        self._account = account
        self._records = records
        self.image_tags: dict[str, dict[str, str]] = {}
        """Tags by image id."""
        self._image_names: dict[str, str] = {}

    def handlers(self) -> dict[str, Handler]:
        """Return EC2's handlers."""
        return {
            "CreateTags": self.create_tags,
            "DeleteTags": self.delete_tags,
            "DeregisterImage": self.deregister_image,
            "DescribeImages": self.describe_images,
            "DescribeInstances": self.describe_instances,
            "GetConsoleOutput": self.console_output,
            "TerminateInstances": self.terminate,
        }

    def put_image(self, image_id: str, name: str, tags: Mapping[str, str]) -> None:
        """Add an image."""
        self.image_tags[image_id] = dict(tags)
        self._image_names[image_id] = name
        if self._records.images is not None:
            self._records.images.add(image_id)

    def console_output(self, params: Params) -> dict[str, Any]:
        """Show a console, decoded as boto3 does."""
        instance = self._account.instances.get(params["InstanceId"])
        return {
            "InstanceId": instance.instance_id,
            "Output": self._account.hypervisor.console_output(instance.instance_id),
            "Timestamp": datetime.fromtimestamp(self._account.clock.now(), UTC),
        }

    def describe_images(self, params: Params) -> dict[str, Any]:
        """Describe images that were given tags, by id."""
        ids = params.get("ImageIds") or list(self.image_tags)
        for wanted in params.get("Filters", ()):
            ids = [each for each in ids if self._is(each, wanted["Name"], wanted["Values"])]
        return {
            "Images": [
                {
                    "ImageId": each,
                    "Name": self._image_names.get(each, each),
                    "State": "available",
                    "Tags": _tags(self.image_tags.get(each, {})),
                }
                for each in ids
            ]
        }

    def _is(self, image_id: str, name: str, values: list[str]) -> bool:
        """Tell whether an image meets one filter (EC2 API reference, DescribeImages)."""
        if name == "image-id":
            return image_id in values
        if name == "state":
            return "available" in values
        if name.startswith("tag:"):
            return self.image_tags.get(image_id, {}).get(name.removeprefix("tag:")) in values
        what = f"The direct account does not model the filter {name} of DescribeImages."
        raise ServiceError("InvalidParameterValue", what)

    def deregister_image(self, params: Params) -> dict[str, Any]:
        """Forget an image: from then on only those can be launched that are left."""
        if self.image_tags.pop(params["ImageId"], None) is None:
            what = f"The image id '[{params['ImageId']}]' does not exist"
            raise ServiceError("InvalidAMIID.NotFound", what)
        self._records.images = set(self.image_tags)
        return {"Return": True}

    def create_tags(self, params: Params) -> dict[str, Any]:
        """Tag images."""
        for resource in params["Resources"]:
            tags = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
            self.image_tags.setdefault(resource, {}).update(tags)
        return {}

    def delete_tags(self, params: Params) -> dict[str, Any]:
        """Remove tags of images."""
        for resource in params["Resources"]:
            for tag in params.get("Tags", ()):
                self.image_tags.get(resource, {}).pop(tag["Key"], None)
        return {}

    def describe_instances(self, params: Params) -> dict[str, Any]:
        """Describe instances by id."""
        if params.get("Filters"):
            what = "The direct account does not model filters of DescribeInstances."
            raise ServiceError("InvalidParameterValue", what)
        ids = params.get("InstanceIds") or [each.instance_id for each in self._account.instances]
        instances = [self._account.instances.get(each) for each in ids]
        return {
            "Reservations": [
                {
                    "Instances": [
                        {
                            "InstanceId": each.instance_id,
                            "ImageId": each.spec.image_id,
                            "InstanceType": each.spec.instance_type,
                            "LaunchTime": datetime.fromtimestamp(each.launch_time, UTC),
                            "PrivateIpAddress": each.private_ip,
                            "State": {"Name": each.state},
                            "StateTransitionReason": each.reason,
                        }
                    ]
                }
                for each in instances
            ]
        }

    def terminate(self, params: Params) -> dict[str, Any]:
        """Terminate instances past their groups."""
        for each in params["InstanceIds"]:
            self._account.instances.get(each)
        for each in params["InstanceIds"]:
            self._account.instances.terminate(each, USER_INITIATED)
        return {}


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
