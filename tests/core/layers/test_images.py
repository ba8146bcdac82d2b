from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws
from moto.ec2.models import ec2_backends

from bakeroll.core.errors import ImageError
from bakeroll.core.layers import images

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

REGION = "ap-northeast-1"
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch) -> Iterator[EC2Client]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    with mock_aws():
        yield boto3.client("ec2", REGION)


def make(
    ec2: EC2Client,
    number: int,
    *,
    state: str = "available",
    layer: str = "base",
    tagged: bool = True,
    **tags: str,
) -> str:
    image_id = ec2.register_image(
        Name=images.image_name(layer, DIGEST, number),
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}],
    )["ImageId"]
    own = {images.TAG_LAYER: layer, images.TAG_FINGERPRINT: DIGEST} if tagged else {}
    all_tags = {**own, **{f"bakeroll:{key}": value for key, value in tags.items()}}
    if all_tags:
        ec2.create_tags(Resources=[image_id], Tags=[{"Key": k, "Value": v} for k, v in all_tags.items()])
    set_image(image_id, state=state)
    return image_id


def set_image(image_id: str, **values: object) -> None:
    for name, value in values.items():
        setattr(ec2_backends["123456789012"][REGION].amis[image_id], name, value)


def find(ec2: EC2Client, from_number: int = 0) -> images.Found:
    return images.find(ec2, "base", DIGEST, "development", from_number=from_number)


def test_nothing_is_found_in_an_empty_account(ec2: EC2Client) -> None:
    assert find(ec2) == images.Found()


def test_the_newest_number_is_used(ec2: EC2Client) -> None:
    newest = make(ec2, 10)
    make(ec2, 2)
    found = find(ec2)
    assert found.usable is not None
    assert (found.usable.id, found.usable.number, found.next_number) == (newest, 10, 11)


def test_images_of_other_layers_and_accounts_do_not_count(ec2: EC2Client) -> None:
    make(ec2, 0, layer="application")
    theirs = make(ec2, 1)
    set_image(theirs, owner_id="999999999999")
    assert find(ec2).usable is None


def test_each_kind_is_told_apart(ec2: EC2Client) -> None:
    disabled, pending = make(ec2, 0, state="disabled"), make(ec2, 1, state="pending")
    rejected, failed = make(ec2, 2, development="rejected"), make(ec2, 3, state="failed")
    found = find(ec2)
    assert found.usable is None
    assert found.disabled is not None
    assert found.disabled.id == disabled
    assert found.pending is not None
    assert found.pending.id == pending
    assert found.rejected is not None
    assert found.rejected.id == rejected
    assert found.next_number == 4, f"the name of {failed} is taken"


def test_a_rejection_elsewhere_does_not_matter(ec2: EC2Client) -> None:
    make(ec2, 0, staging="rejected", development="released")
    usable = find(ec2).usable
    assert usable is not None
    assert (usable.judged("development"), usable.judged("staging")) == ("released", "rejected")


def test_an_image_that_was_not_tagged_yet_is_found_by_its_name(ec2: EC2Client) -> None:
    untagged = make(ec2, 0, tagged=False)
    found = find(ec2)
    assert found.untagged is not None
    assert found.untagged.id == untagged
    assert (found.usable, found.next_number) == (None, 1)


def test_a_forced_rebuild_sees_only_what_is_newer(ec2: EC2Client) -> None:
    make(ec2, 0)
    assert find(ec2, 1) == images.Found(next_number=1)
    newer = make(ec2, 1)
    usable = find(ec2, 1).usable
    assert usable is not None
    assert usable.id == newer


def test_the_newest_source_ami_is_taken(ec2: EC2Client) -> None:
    for name, year in (("debian-2", 2026), ("debian-1", 2025), ("other", 2027)):
        image_id = ec2.register_image(Name=name)["ImageId"]
        set_image(image_id, creation_date=datetime(year, 1, 1, tzinfo=UTC))
    assert images.source_ami(ec2, ["123456789012"], "debian-*").name == "debian-2"
    with pytest.raises(ImageError, match="no available image of 1 is named debian"):
        images.source_ami(ec2, ["1"], "debian-*")


def test_image_and_snapshots_are_tagged_and_checked(ec2: EC2Client) -> None:
    image = images.get(ec2, make(ec2, 0))
    assert image is not None
    assert image.snapshots
    wanted = {"bakeroll:layer": "base", "bakeroll:parent": "ami-1"}
    assert images.untagged_parts(ec2, image, wanted) == [image.id, *image.snapshots]
    images.tag(ec2, image, wanted)
    again = images.get(ec2, image.id)
    assert again is not None
    assert images.untagged_parts(ec2, again, wanted) == []


def test_an_image_is_marked_and_its_mark_changed(ec2: EC2Client) -> None:
    image_id = make(ec2, 0)
    images.mark(ec2, image_id, "development", images.RELEASED)
    images.mark(ec2, image_id, "development", images.REJECTED)
    image = images.get(ec2, image_id)
    assert image is not None
    assert image.judged("development") == "rejected"
    with pytest.raises(ImageError, match="development: image ami-00000000 is gone"):
        images.mark(ec2, "ami-00000000", "development", images.RELEASED)


def test_images_of_a_layer_come_newest_first(ec2: EC2Client) -> None:
    old, new = make(ec2, 0), make(ec2, 1)
    make(ec2, 2, tagged=False)
    set_image(old, creation_date=datetime(2026, 1, 1, tzinfo=UTC))
    set_image(new, creation_date=datetime(2026, 1, 2, tzinfo=UTC))
    assert [image.id for image in images.newest_of_layer(ec2, "base")] == [new, old]


def wait(ec2: EC2Client, image_id: str, said: list[str], timeout_seconds: float = 5) -> images.Image:
    return images.wait_until_available(
        ec2, image_id, timeout_seconds=timeout_seconds, say=said.append, poll_seconds=0.01
    )


def test_a_pending_image_is_waited_for(ec2: EC2Client) -> None:
    image_id = make(ec2, 0, state="pending")
    said: list[str] = []

    class Say(list[str]):
        def append(self, line: str) -> None:
            said.append(line)
            set_image(image_id, state="available")

    assert wait(ec2, image_id, Say()).state == "available"
    assert said == [f"image {image_id} is pending, waiting until it is available"]


@pytest.mark.parametrize("state", ["failed", "deregistered", "disabled"])
def test_an_image_that_cannot_become_available_is_not_waited_for(ec2: EC2Client, state: str) -> None:
    with pytest.raises(ImageError, match=f"is {state}"):
        wait(ec2, make(ec2, 0, state=state), [])


def test_waiting_for_an_image_is_bounded(ec2: EC2Client) -> None:
    with pytest.raises(ImageError, match="is pending after"):
        wait(ec2, make(ec2, 0, state="pending"), [], timeout_seconds=0)


def test_an_image_that_vanishes_is_not_waited_for(ec2: EC2Client) -> None:
    image_id = make(ec2, 0, state="pending")

    class Say(list[str]):
        def append(self, line: str) -> None:
            ec2.deregister_image(ImageId=image_id)

    with pytest.raises(ImageError, match="is not there"):
        wait(ec2, image_id, Say())
