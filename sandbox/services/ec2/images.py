"""CreateImage, DeregisterImage, DescribeImages, EnableImage, DisableImage."""

from __future__ import annotations

import logging
from typing import Any

from sandbox.gateway.images import Images
from sandbox.gateway.moto import Moto
from sandbox.model.account import Account
from sandbox.model.errors import ServiceError
from sandbox.wire.app import Handler

log = logging.getLogger(__name__)

Params = dict[str, Any]


class ImageActions:
    """Images with their file systems."""

    def __init__(self, account: Account, moto: Moto, images: Images) -> None:
        self._account = account
        self._moto = moto
        self._images = images

    def actions(self) -> dict[str, Handler]:
        """Return the handlers."""
        return {
            "CreateImage": self.create,
            "DeregisterImage": self.deregister,
            "DescribeImages": self.describe,
            "DisableImage": lambda params: self._switch("DisableImage", params),
            "EnableImage": lambda params: self._switch("EnableImage", params),
        }

    def create(self, params: Params) -> dict[str, Any]:
        """Keep a stopped instance's file system as an image, ``pending`` until that is done."""
        instance = self._account.instances.get(params["InstanceId"])
        if instance.state != "stopped":
            what = f"{instance.instance_id} is {instance.state}"
            message = f"The sandbox makes images of stopped instances only; {what}."
            raise ServiceError("UnsupportedOperation", message)
        name = params.get("Name", "")
        other = self._images.named(name)
        if other is not None:
            message = f"AMI name {name} is already in use by AMI {other.id}"
            raise ServiceError("InvalidAMIName.Duplicate", message)
        tags = {each["ResourceType"]: each.get("Tags", []) for each in params.get("TagSpecifications", ())}
        image_tags = [{"ResourceType": "image", "Tags": tags["image"]}] if tags.get("image") else []
        image = self._images.create(instance.instance_id, name, params.get("Description", ""), image_tags)
        for tag in tags.get("snapshot", ()):
            image.ebs_snapshot.add_tag(tag["Key"], tag["Value"])

        def done(error: str | None) -> None:
            with self._account.lock:
                image.state = "failed" if error else "available"
            if error:
                log.error("image %s of %s failed: %s", image.id, instance.instance_id, error)

        self._account.hypervisor.create_image(instance.instance_id, image.id, done)
        return {"ImageId": image.id}

    def deregister(self, params: Params) -> dict[str, Any]:
        """Forget an image and its file system, and its snapshot if that is asked for."""
        image = self._images.find(params["ImageId"])
        self._moto.call("ec2", "DeregisterImage", {"ImageId": params["ImageId"]})
        self._account.hypervisor.delete_image(params["ImageId"])
        if image is not None and params.get("DeleteAssociatedSnapshots"):
            self._moto.call("ec2", "DeleteSnapshot", {"SnapshotId": image.ebs_snapshot.id})
        return {"Return": True}

    def describe(self, params: Params) -> dict[str, Any]:
        """Describe images; disabled ones only if that is asked for.

        Source: EC2 API reference, DescribeImages, IncludeDisabled.
        """
        asked = {
            name: value for name, value in params.items() if name not in {"IncludeDisabled", "MaxResults"}
        }
        found = self._moto.call("ec2", "DescribeImages", asked)
        if not params.get("IncludeDisabled"):
            found["Images"] = [image for image in found["Images"] if image["State"] != "disabled"]
        return found

    def _switch(self, action: str, params: Params) -> dict[str, Any]:
        image = self._images.find(params["ImageId"])
        if image is not None and image.owner_id != self._account.account_id:
            message = f"Not authorized for image:{image.id}"
            raise ServiceError("AuthFailure", message, 403)
        if image is not None and image.state not in {"available", "disabled"}:
            raise ServiceError("InvalidAMIID.Unavailable", f"The image ID '{image.id}' is not available")
        answer = self._moto.call("ec2", action, {"ImageId": params["ImageId"]})
        if action == "DisableImage" and image is not None:
            image.launch_permissions.clear()
        return answer
