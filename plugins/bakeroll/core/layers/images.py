"""The images of the layers, as AWS has them now."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from bakeroll.core.aws import error_code
from bakeroll.core.errors import ImageError

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

TAG_LAYER = "bakeroll:layer"
TAG_FINGERPRINT = "bakeroll:fingerprint"
TAG_PARENT = "bakeroll:parent"
TAG_COMMIT = "bakeroll:commit"
RELEASED: Literal["released"] = "released"
REJECTED: Literal["rejected"] = "rejected"
# States an image never leaves for `available`. Source: EC2 API, Image, "state".
DEAD = ("failed", "error", "invalid", "deregistered")
_UNKNOWN_SECONDS = 60.0


# Base, application_base, application; tags could be made to go round in circles.
_LAYERS_AT_MOST = 3


@dataclass(frozen=True)
class Image:
    """An image as EC2 describes it.

    :param created: CreationDate, ISO 8601 in UTC, so its order is that of time.
    :param snapshots: ids of the snapshots behind its volumes.
    """

    id: str
    name: str
    state: str
    created: str
    tags: Mapping[str, str]
    snapshots: tuple[str, ...]

    @property
    def number(self) -> int:
        """The last part of the name, which counts forced rebuilds; -1 for a name of another form."""
        last = self.name.rpartition("-")[2]
        return int(last) if last.isdigit() else -1

    def judged(self, environment: str) -> str | None:
        """Return ``released``, ``rejected`` or None: what became of it in an environment."""
        return self.tags.get(f"bakeroll:{environment}")


@dataclass(frozen=True)
class Found:
    """What there is of one fingerprint, each the newest of its kind.

    :param usable: available, and not rejected for the environment.
    :param pending: being made by somebody, to be waited for.
    :param disabled: hidden by DisableImage; its name stays taken.
    :param rejected: available, but rejected for the environment.
    :param untagged: of the right name but without tags: Packer died, or is, between making and tagging.
    :param next_number: the first number no name has.
    """

    usable: Image | None = None
    pending: Image | None = None
    disabled: Image | None = None
    rejected: Image | None = None
    untagged: Image | None = None
    next_number: int = 0


def image_name(layer: str, fingerprint: str, number: int) -> str:
    """Return the name of a layer's image."""
    return f"{_stem(layer, fingerprint)}{number}"


def find(ec2: EC2Client, layer: str, fingerprint: str, environment: str, *, from_number: int = 0) -> Found:
    """Look for the images of a fingerprint.

    :param from_number: images with a lower number do not count (a forced rebuild wants a newer one),
        but their names stay taken.
    """
    tagged = _describe(ec2, _tag_filters({TAG_LAYER: layer, TAG_FINGERPRINT: fingerprint}))
    stem = _stem(layer, fingerprint)
    named = _describe(ec2, [{"Name": "name", "Values": [f"{stem}*"]}])
    counted = sorted(tagged, key=lambda image: (image.number, image.created), reverse=True)
    counted = [image for image in counted if image.number >= from_number]
    unmarked = [image for image in named if TAG_FINGERPRINT not in image.tags and image.state not in DEAD]

    def first(state: str, *, rejected: bool = False) -> Image | None:
        return next(
            (i for i in counted if i.state == state and (i.judged(environment) == REJECTED) == rejected), None
        )

    return Found(
        usable=first("available"),
        pending=first("pending"),
        disabled=first("disabled") or first("disabled", rejected=True),
        rejected=first("available", rejected=True),
        untagged=next(
            (i for i in unmarked if i.number >= from_number and i.state in ("pending", "available")), None
        ),
        next_number=max((image.number for image in [*named, *tagged]), default=-1) + 1,
    )


def newest_of_layer(ec2: EC2Client, layer: str) -> list[Image]:
    """Return a layer's images that carry a fingerprint, newest first."""
    found = _describe(
        ec2, [*_tag_filters({TAG_LAYER: layer}), {"Name": "tag-key", "Values": [TAG_FINGERPRINT]}]
    )
    return sorted(found, key=lambda image: (image.created, image.number), reverse=True)


def get(ec2: EC2Client, image_id: str) -> Image | None:
    """Return one image, or None if it is not there."""
    found = _describe(ec2, [{"Name": "image-id", "Values": [image_id]}])
    return found[0] if found else None


def can_be_launched(ec2: EC2Client, image_id: str) -> bool:
    """Tell whether an image is there and available, whoever owns it; one that is disabled is not.

    Source: EC2 API reference, DescribeImages.
    """
    try:
        found = ec2.describe_images(ImageIds=[image_id])["Images"]
    except ClientError as error:
        if not error_code(error).startswith("InvalidAMIID"):
            raise
        return False
    return any(image.get("State") == "available" for image in found)


def lineage(ec2: EC2Client, image_id: str) -> list[tuple[str, str]]:
    """Return an image and those it was baked from, as (layer, image id); ends where no layer's tag is.

    :param image_id: the image to begin with.
    """
    found: list[tuple[str, str]] = []
    while len(found) < _LAYERS_AT_MOST and (image := get(ec2, image_id)) and TAG_LAYER in image.tags:
        found.append((image.tags[TAG_LAYER], image.id))
        image_id = image.tags.get(TAG_PARENT, "")
    return found


def named(ec2: EC2Client, name: str) -> Image | None:
    """Return the account's own image of a name, or None if there is none."""
    found = _describe(ec2, [{"Name": "name", "Values": [name]}])
    return found[0] if found else None


def source_ami(ec2: EC2Client, owners: Sequence[str], name: str) -> Image:
    """Return the newest available image of some owners whose name matches.

    :param name: ``*`` and ``?`` stand for other characters.
    :raises ImageError: if there is none.
    """
    filters = [{"Name": "name", "Values": [name]}, {"Name": "state", "Values": ["available"]}]
    found = _describe(ec2, filters, owners=owners, disabled=False)
    if not found:
        raise ImageError(
            f"no available image of {', '.join(owners)} is named {name}; correct source_ami in the "
            "environment file"
        )
    return max(found, key=lambda image: (image.created, image.id))


def wait_until_available(
    ec2: EC2Client,
    image_id: str,
    *,
    timeout_seconds: float,
    say: Callable[[str], object],
    poll_seconds: float,
) -> Image:
    """Wait until an image can be launched.

    :raises ImageError: if it failed, is gone, or takes longer.
    """
    began = time.monotonic()
    said = ""
    while True:
        image = get(ec2, image_id)
        state = image.state if image else "not there"
        if image and state == "available":
            return image
        waited = time.monotonic() - began
        # A new image may be unknown to the next calls for a moment; one that was seen is gone for good.
        gone = image is None and (said != "" or waited >= _UNKNOWN_SECONDS)
        if gone or state in (*DEAD, "disabled") or waited >= timeout_seconds:
            raise ImageError(
                f"image {image_id} is {state} after {waited:.0f} s, not available; look at it in EC2, and "
                "run again to bake another"
            )
        if image and state != said:
            say(f"image {image_id} is {state}, waiting until it is available")
            said = state
        time.sleep(poll_seconds)


def tag(ec2: EC2Client, image: Image, tags: Mapping[str, str]) -> None:
    """Tag an image and its snapshots; the same tags again change nothing."""
    ec2.create_tags(
        Resources=[image.id, *image.snapshots],
        Tags=[{"Key": key, "Value": value} for key, value in sorted(tags.items())],
    )


def untagged_parts(ec2: EC2Client, image: Image, tags: Mapping[str, str]) -> list[str]:
    """Return which of an image and its snapshots lack any of some tags."""
    if not image.snapshots:
        behind: dict[str, dict[str, str]] = {}
    else:
        pages = ec2.get_paginator("describe_snapshots").paginate(SnapshotIds=list(image.snapshots))
        behind = {part["SnapshotId"]: _tags(part) for page in pages for part in page["Snapshots"]}
    parts = {image.id: dict(image.tags), **{name: behind.get(name, {}) for name in image.snapshots}}
    return [name for name, has in parts.items() if not tags.items() <= has.items()]


def mark(ec2: EC2Client, image_id: str, environment: str, judgement: Literal["released", "rejected"]) -> None:
    """Record what became of an image in an environment.

    :raises ImageError: if the image is gone.
    """
    image = get(ec2, image_id)
    if image is None:
        raise ImageError(
            f"{environment}: image {image_id} is gone, it cannot be marked {judgement}, and nothing can be "
            "launched of it any more; start a new run, which bakes another"
        )
    tag(ec2, image, {f"bakeroll:{environment}": judgement})


def _stem(layer: str, fingerprint: str) -> str:
    return f"{layer}-{fingerprint[:16]}-"


def _tag_filters(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _describe(
    ec2: EC2Client, filters: list[dict[str, Any]], owners: Sequence[str] = ("self",), *, disabled: bool = True
) -> list[Image]:
    pages = ec2.get_paginator("describe_images").paginate(
        Owners=list(owners),
        Filters=filters,  # type: ignore[arg-type]
        IncludeDisabled=disabled,
    )
    return [_image(described) for page in pages for described in page["Images"]]


def _image(described: Any) -> Image:
    mappings = described.get("BlockDeviceMappings", [])
    snapshots = [mapping.get("Ebs", {}).get("SnapshotId") for mapping in mappings]
    return Image(
        id=described["ImageId"],
        name=described.get("Name", ""),
        state=described.get("State", ""),
        created=described.get("CreationDate", ""),
        tags=_tags(described),
        snapshots=tuple(snapshot for snapshot in snapshots if snapshot),
    )


def _tags(described: Any) -> dict[str, str]:
    return {entry["Key"]: entry["Value"] for entry in described.get("Tags", [])}
