"""What a bake that was killed left in the account, and removing it.

Packer removes what it made itself, also after an interrupt. Killed outright, it leaves its instance (with
volumes), key pair and security group, and maybe a failed image or snapshots. Each bake has a token of its
own that is in its instance's and volumes' tag :data:`TAG_BAKE` and in its key pair's name. Packer 1.6.6 can
neither tag nor name its security group, so its name is noted from what Packer says, and from the instance
(later versions tag it). Only what carries the token of a bake that is known to be dead is touched, and an
instance only if its key pair is the bake's as well: "launch more like this" copies tags.

Looking directly after a kill would miss what EC2 does not show yet; a dead bake's lease has lapsed before
anybody looks (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code
from bakeroll.core.errors import LeftOverError
from bakeroll.core.layers import images
from bakeroll.core.layers.images import Image

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TAG_BAKE = "bakeroll:bake"
_DESCRIPTION = "Temporary group for Packer"
_GOING = ("shutting-down", "terminated")


@dataclass(frozen=True)
class Begun:
    """A bake that was begun, and what it is known to have made.

    :param token: its own, in tags and names.
    :param image: name of the image it makes.
    :param groups: names or ids of its security groups.
    :param instances: ids of its instances.
    :param tags: of the image and its snapshots.
    """

    token: str
    image: str
    groups: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_pair(self) -> str:
        """Name of its key pair; the template has the same."""
        return f"packer_{self.image}_{self.token}"

    def to_json(self) -> dict[str, Any]:
        """Return what a lease's facts can hold."""
        return {**vars(self), "groups": list(self.groups), "instances": list(self.instances)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Begun:
        """Return what :meth:`to_json` was made of."""
        lists = {name: tuple(value[name]) for name in ("groups", "instances")}
        return cls(**{**value, **lists})

    def with_made(self, *, groups: Iterable[str] = (), instances: Iterable[str] = ()) -> Begun:
        """Return this with more that it made."""
        return replace(
            self,
            groups=tuple(dict.fromkeys([*self.groups, *groups])),
            instances=tuple(dict.fromkeys([*self.instances, *instances])),
        )


class LeftOvers:
    """Removes what dead bakes left.

    :param say: gets a line for each thing removed.
    :param timeout_seconds: how long instances may take to terminate.
    """

    def __init__(
        self,
        ec2: EC2Client,
        *,
        say: Callable[[str], object],
        timeout_seconds: float = 300.0,
        poll_seconds: float = 5.0,
        pause: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ec2 = ec2
        self._say = say
        self._timeout_seconds = timeout_seconds
        self._poll_seconds = poll_seconds
        self._pause = pause
        self._clock = clock

    def remove(self, begun: Begun, note: Callable[[Begun], object]) -> bool:
        """Remove all that a dead bake left; safe to be cut off anywhere and done again.

        :param note: keeps what is found out, before that it is found out from is removed.
        :return: whether nothing is left; not so while an image is still being made of the instance.
        :raises LeftOverError: if something cannot be removed.
        """
        image = images.named(self._ec2, begun.image)
        if image is not None and image.state == "pending":
            self._say(
                f"image {image.id} ({image.name}) is still pending; its instance stays until it is done"
            )
            return False
        if image is not None and image.state == "available":
            self._tag(image, begun.tags)
        instances = self._instances(begun)
        known = begun.with_made(
            groups=(group for each in instances for group in _groups(each)),
            instances=(each["InstanceId"] for each in instances),
        )
        if known != begun:
            note(known)
        self._terminate(instances)
        self._delete_key_pair(known)
        self._delete_groups(known)
        self._delete_volumes(known)
        if image is not None and image.state in images.DEAD:
            self._say(f"removing image {image.id} ({image.name}), which is {image.state}, and its snapshots")
            self._try(lambda: self._ec2.deregister_image(ImageId=image.id, DeleteAssociatedSnapshots=True))
        self._delete_snapshots(known)
        return True

    def _tag(self, image: Image, tags: Mapping[str, str]) -> None:
        """Tag an image that Packer died before tagging: it was made of a finished machine, so it is whole."""
        if lacking := images.untagged_parts(self._ec2, image, tags):
            self._say(f"tagging {', '.join(lacking)}")
            images.tag(self._ec2, image, tags)

    def _instances(self, begun: Begun) -> list[Any]:
        filters = [
            {"Name": f"tag:{TAG_BAKE}", "Values": [begun.token]},
            {"Name": "key-name", "Values": [begun.key_pair]},
        ]
        pages = self._ec2.get_paginator("describe_instances").paginate(Filters=filters)  # type: ignore[arg-type]
        return [each for page in pages for found in page["Reservations"] for each in found["Instances"]]

    def _terminate(self, instances: list[Any]) -> None:
        ids = [each["InstanceId"] for each in instances if each["State"]["Name"] not in _GOING]
        if ids:
            self._say(f"terminating {', '.join(ids)}, which a killed bake left")
            self._try(lambda: self._ec2.terminate_instances(InstanceIds=ids))
        gone = [each["InstanceId"] for each in instances if each["State"]["Name"] != "terminated"]
        self._until(lambda: not self._remaining(gone), f"instances {', '.join(gone)} do not terminate")

    def _remaining(self, ids: list[str]) -> list[str]:
        """Return those that are not terminated; one that is not shown any more is."""
        if not ids:
            return []
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-id", "Values": ids}]
        )
        found = [each for page in pages for held in page["Reservations"] for each in held["Instances"]]
        return [each["InstanceId"] for each in found if each["State"]["Name"] != "terminated"]

    def _delete_key_pair(self, begun: Begun) -> None:
        found = self._ec2.describe_key_pairs(Filters=[{"Name": "key-name", "Values": [begun.key_pair]}])
        for pair in found["KeyPairs"]:
            self._say(f"deleting key pair {pair['KeyName']}")
            self._ec2.delete_key_pair(KeyName=pair["KeyName"])

    def _delete_groups(self, begun: Begun) -> None:
        names = [name for name in begun.groups if not name.startswith("sg-")]
        ids = [name for name in begun.groups if name.startswith("sg-")]
        asked = [("group-name", names), ("group-id", ids), (f"tag:{TAG_BAKE}", [begun.token])]
        for name, values in asked:
            if not values:
                continue
            answer = self._ec2.describe_security_groups(Filters=[{"Name": name, "Values": values}])
            for group in answer["SecurityGroups"]:
                # A group that the environment file or a person names for build instances is theirs.
                if group["Description"] == _DESCRIPTION and group["GroupName"].startswith("packer_"):
                    self._delete_group(group["GroupId"])

    def _delete_group(self, group_id: str) -> None:
        self._say(f"deleting security group {group_id}")

        def gone() -> bool:
            # A terminated instance's network interface may hold it for a moment.
            return self._try(
                lambda: self._ec2.delete_security_group(GroupId=group_id), but="DependencyViolation"
            )

        self._until(gone, f"security group {group_id} is still in use")

    def _delete_volumes(self, begun: Begun) -> None:
        filters: list[Any] = [
            {"Name": f"tag:{TAG_BAKE}", "Values": [begun.token]},
            {"Name": "status", "Values": ["available"]},
        ]
        pages = self._ec2.get_paginator("describe_volumes").paginate(Filters=filters)
        for volume in [each for page in pages for each in page["Volumes"]]:
            volume_id = volume["VolumeId"]
            self._say(f"deleting volume {volume_id}")
            self._try(lambda volume_id=volume_id: self._ec2.delete_volume(VolumeId=volume_id))  # type: ignore[misc]

    def _delete_snapshots(self, begun: Begun) -> None:
        """Delete snapshots of an image that is gone: a cancelled Packer deregisters first."""
        if not begun.instances:
            return
        # As EC2 describes what CreateImage makes: Created by CreateImage(i-…) for ami-…
        texts = [f"Created by CreateImage({instance}) for *" for instance in begun.instances]
        pages = self._ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=[{"Name": "description", "Values": texts}]
        )
        for snapshot in [each for page in pages for each in page["Snapshots"]]:
            snapshot_id = snapshot["SnapshotId"]
            image_id = snapshot["Description"].partition(" for ")[2].split()[0]
            if images.get(self._ec2, image_id) is None:
                self._say(f"deleting snapshot {snapshot_id} of {image_id}, which is gone")
                self._try(
                    lambda snapshot_id=snapshot_id: self._ec2.delete_snapshot(SnapshotId=snapshot_id),  # type: ignore[misc]
                    but="InvalidSnapshot.InUse",
                )

    def _try(self, call: Callable[[], object], but: str = "") -> bool:
        """Make a call that removes something; what is gone already is fine.

        :param but: this error means: not now.
        """
        try:
            call()
        except ClientError as error:
            code = error_code(error)
            if code == but:
                return False
            if not code.endswith((".NotFound", ".Unavailable", "NotFound")):
                raise
        return True

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        began = self._clock()
        while not done():
            if self._clock() - began >= self._timeout_seconds:
                raise LeftOverError(
                    f"{otherwise} within {self._timeout_seconds:.0f} s; look at it in EC2, and run again"
                )
            self._pause(self._poll_seconds)


def _groups(instance: Any) -> list[str]:
    return [group["GroupId"] for group in instance.get("SecurityGroups", [])]
