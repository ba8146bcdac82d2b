"""Images: moto has the record, the hypervisor the file system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.models.amis import Ami

from sandbox.gateway.moto import Moto
from sandbox.model.ports import LaunchError


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """An image that the account did not make: another owner's, public, or one put there by a test."""

    image_id: str
    name: str
    owner_id: str
    tags: Mapping[str, str] = field(default_factory=dict)


DEBIAN = SourceImage(
    image_id="ami-0debian1200000000", name="debian-12-amd64-20260101-0000", owner_id="136693071363"
)
"""As Debian's own account names its images."""


class Images:
    """The account's images and what EC2 says of them at launch."""

    def __init__(self, moto: Moto) -> None:
        self._moto = moto

    def add_source(self, image: SourceImage) -> None:
        """Put an image into the account; its file system is the hypervisor's business."""
        self._moto.ec2.amis[image.image_id] = Ami(
            self._moto.ec2,
            image.image_id,
            name=image.name,
            description=image.name,
            owner_id=image.owner_id,
            public=image.owner_id != self._moto.account_id,
            virtualization_type="hvm",
            architecture="x86_64",
            hypervisor="xen",
            image_location=f"{image.owner_id}/{image.name}",
            root_device_type="ebs",
            root_device_name="/dev/xvda",
            sriov="simple",
            region_name=f"{self._moto.region}a",
            tags=dict(image.tags),
        )

    def find(self, image_id: str) -> Any | None:
        """Return moto's record of an image, None if there is none."""
        return self._moto.ec2.amis.get(image_id)

    def named(self, name: str) -> Any | None:
        """Return the account's own image of that name, disabled or not."""
        for image in self._moto.ec2.amis.values():
            if image.name == name and image.owner_id == self._moto.account_id:
                return image
        return None

    def create(self, instance_id: str, name: str, description: str, tags: Sequence[dict[str, Any]]) -> Any:
        """Record a new image, ``pending`` until its file system is kept."""
        image = self._moto.ec2.create_image(instance_id, name, description, tag_specifications=list(tags))
        image.state = "pending"
        image.root_device_type = "ebs"
        image.image_location = f"{self._moto.account_id}/{name}"
        image.hypervisor = "xen"
        return image

    def require_available(self, image_id: str) -> None:
        """Make sure that EC2 would launch from an image.

        :raises LaunchError: with EC2's code and message.
        """
        image = self.find(image_id)
        if image is None:
            raise LaunchError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
        if image.state != "available":
            raise LaunchError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available")
