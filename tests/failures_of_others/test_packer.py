"""Where skipping a bake of Packer by the image's name fails."""

from __future__ import annotations

from tests.failures_of_others.support import images


def register(layers, name, tags):
    """Make an image as Packer does, with tags of ours."""
    ec2 = layers.clients.ec2
    image_id = ec2.register_image(
        Name=name, BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 1}}]
    )["ImageId"]
    ec2.create_tags(Resources=[image_id], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    return image_id


def names(layers):
    """Return the names of all bakes so far."""
    return [order.image_name for order in layers.orders]


def test_an_image_of_the_right_name_but_of_other_content_is_not_taken_for_it(layers):
    """hashicorp/packer #8029: a bake that is skipped by its name may deploy anything of that name."""
    name = layers.bakery().decide().of("base").image_name
    impostor = register(layers, name, {images.TAG_LAYER: "base", images.TAG_FINGERPRINT: 64 * "0"})
    assert layers.bakery().decide().of("base").bake
    assert layers.deploy() == ["base", "application_base", "application"]
    assert names(layers)[0] == name.removesuffix("0") + "1", "its name is taken, so the next number is"
    base = layers.bakery().decide().of("base")
    assert (base.bake, base.image_id == impostor) == (False, False)


def test_changed_content_is_baked_although_nothing_got_another_name_or_version(layers):
    """hashicorp/packer #8029: who changes a script and not the name gets the old image, and a green run."""
    layers.deploy()
    before = names(layers)
    layers.write("provisioners/application_base.yml", "- hosts: all\n  become: true\n")
    assert layers.deploy() == ["application_base", "application"]
    after = names(layers)
    assert len(after) == 5
    assert len(set(after)) == 5
    assert after[3].startswith("application_base-")
    assert after[3].endswith("-0"), "a first image of that content"
    assert before[1] != after[3]


def test_the_same_content_is_reused_whatever_its_image_is_called(layers):
    """hashicorp/packer #8029: a name with a date in it is another one each day, and all is baked again."""
    layers.deploy()
    ec2 = layers.clients.ec2
    base = images.get(ec2, layers.bakery().decide().of("base").image_id)
    copy = register(layers, "base 2026-01-01", dict(base.tags))
    ec2.deregister_image(ImageId=base.id)
    decided = layers.bakery().decide().of("base")
    assert (decided.bake, decided.image_id) == (False, copy)
