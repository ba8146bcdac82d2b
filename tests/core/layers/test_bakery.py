from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto import mock_aws
from moto.ec2.models import ec2_backends

from bakeroll.core.errors import ImageError, ToolInterruptedError
from bakeroll.core.layers import bakery as bakery_module
from bakeroll.core.layers import images
from bakeroll.core.layers.decisions import Decisions
from bakeroll.core.layers.packer import Order
from tests.core.layers.world import ACCOUNT, BUCKET, REGION, World
from tests.git_servers import Repository


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    monkeypatch.setattr(bakery_module, "tool_versions", lambda env: {"Packer": "1.6.6", "Ansible": "2.19.1"})
    with mock_aws():
        world = World(tmp_path)
        monkeypatch.setattr(bakery_module, "run_packer", world.packer)
        yield world


ALL = ["base", "application_base", "application"]


def test_three_deployments(world: World) -> None:
    assert world.deploy() == ALL
    assert world.deploy() == []
    world.commit()
    assert world.deploy() == ["application"]
    assert any("application commit changed" in line for line in world.said)
    assert world.deploy() == []


def test_a_changed_role_bakes_its_layer_and_what_is_built_on_it(world: World) -> None:
    world.deploy()
    world.write("provisioners/application_base.yml", "- hosts: all\n  become: true\n")
    assert world.deploy() == ["application_base", "application"]
    line = next(line for line in reversed(world.said) if line.startswith("application_base is baked"))
    assert line == "application_base is baked: files changed: provisioners/application_base.yml"
    world.write("provisioners/application_base.yml", "- hosts: all\n")
    assert world.deploy() == [], "the images of the older inputs are still there"


def test_a_role_s_moved_branch_bakes_the_layers_that_reach_it(world: World, tmp_path: Path) -> None:
    role = Repository(tmp_path / "clock.git")
    role.commit({"tasks/main.yml": "[]\n"})
    world.write(
        "provisioners/requirements.yml",
        f"roles:\n  - {{src: 'file://{role.path}', scm: git, version: main, name: clock}}\n",
    )
    world.write("provisioners/ansible.cfg", "[defaults]\nroles_path = .galaxy/roles\n")
    world.write("provisioners/application_base.yml", "- hosts: all\n  roles: [clock]\n")
    assert world.deploy() == ALL
    assert world.deploy() == []
    role.commit({"tasks/main.yml": "- meta: noop\n"})
    decisions = world.bakery().decide()
    assert decisions.first_to_bake == "application_base"
    assert "files changed: provisioners/.galaxy/roles/clock/tasks/main.yml" in decisions.layers[1].sentence()
    # What was decided is baked, wherever the branch points to by then.
    role.commit({"tasks/main.yml": "- meta: end_play\n"})
    carried = Decisions.from_json(json.loads(json.dumps(decisions.to_json())))
    assert world.bake("application_base", carried, {}).fingerprint == carried.layers[1].fingerprint
    assert world.deploy() == ["application_base", "application"]


def test_environments_share_all_but_the_application(world: World) -> None:
    assert world.deploy("development") == ALL
    assert world.deploy("staging") == ["application"]
    assert world.deploy("development") == []


@pytest.mark.parametrize("rebuild", ALL)
def test_a_forced_rebuild_makes_new_images_from_there_on_once(world: World, rebuild: str) -> None:
    world.deploy()
    assert world.deploy(rebuild=rebuild) == ALL[ALL.index(rebuild) :]
    assert world.deploy() == []
    first = world.orders[3]
    assert first.image_name.startswith(f"{rebuild}-")
    assert first.image_name.endswith("-1")


def test_image_and_snapshots_carry_the_tags(world: World) -> None:
    world.deploy()
    image = images.newest_of_layer(world.clients.ec2, "application")[0]
    assert set(image.tags) == {f"bakeroll:{key}" for key in ("layer", "fingerprint", "parent", "commit")}
    assert images.untagged_parts(world.clients.ec2, image, image.tags) == []
    kept = world.clients.s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert f"inputs/application/{image.tags['bakeroll:fingerprint']}.json" in [entry["Key"] for entry in kept]


def test_a_retry_uses_the_image_that_was_finished_meanwhile(world: World) -> None:
    decisions = world.bakery().decide()
    made = world.bake("base", decisions, {})
    again = world.bake("base", decisions, {})
    assert (again.image_id, again.reused, len(world.orders)) == (made.image_id, True, 1)


def test_a_retry_of_a_forced_rebuild_does_not_force_twice(world: World) -> None:
    world.deploy()
    decisions = world.bakery().decide(rebuild="base")
    made = world.bake("base", decisions, {})
    again = world.bake("base", decisions, {})
    assert (again.image_id, again.reused) == (made.image_id, True)
    assert made.image_name.endswith("-1")


def test_an_image_whose_packer_died_before_tagging_is_adopted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = world.bakery().decide()

    def dies(order: Order, **_: object) -> str:
        world.packer(order)
        raise ToolInterruptedError("killed")

    monkeypatch.setattr(bakery_module, "run_packer", dies)
    with pytest.raises(ToolInterruptedError):
        world.bake("base", decisions, {})
    result = world.bake("base", decisions, {})
    assert (result.reused, result.image_name) == (True, world.orders[0].image_name)
    assert world.bakery().decide().of("base").image_id == result.image_id


def test_a_pending_image_that_fails_is_not_the_end(world: World) -> None:
    decisions = world.bakery().decide()
    name = decisions.of("base").image_name
    assert name is not None
    failing = world.clients.ec2.register_image(Name=name)["ImageId"]
    image = ec2_backends[ACCOUNT][REGION].amis[failing]
    image.state = "pending"
    said = world.said.append

    def fail(line: str) -> None:
        said(line)
        if "is pending" in line:
            image.state = "failed"

    bakery = world.bakery()
    bakery._say = fail
    assert decisions.source_ami is not None
    result = bakery.bake("base", decisions.source_ami, commit=None, credentials={}, vault_password="x")
    assert not result.reused
    assert result.image_name.endswith("-1")


def test_an_existing_image_is_deployed_by_id(world: World) -> None:
    world.deploy()
    image = images.newest_of_layer(world.clients.ec2, "application")[0]
    world.commit()
    decisions = world.bakery().decide(ami_id=image.id)
    assert decisions.first_to_bake is None
    assert decisions.image_of("application", {}) == image.id
    with pytest.raises(ImageError, match="was baked for development"):
        world.bakery("staging").decide(ami_id=image.id)


def test_a_rejected_image_is_not_deployed_again(world: World) -> None:
    world.deploy()
    image = images.newest_of_layer(world.clients.ec2, "application")[0]
    images.mark(world.clients.ec2, image.id, "development", images.REJECTED)
    with pytest.raises(ImageError, match="was rejected here and nothing changed"):
        world.deploy()
    with pytest.raises(ImageError, match="set deploy_rejected as well"):
        world.bakery().decide(ami_id=image.id)
    chosen = world.bakery().decide(deploy_rejected=True)
    assert (chosen.first_to_bake, chosen.image_of("application", {})) == (None, image.id)
    world.commit()
    assert world.deploy() == ["application"]


def test_another_ref_is_deployed_if_asked_for(world: World) -> None:
    world.deploy()
    world.git("checkout", "-q", "-b", "feature")
    world.commit()
    assert world.deploy() == []
    assert world.deploy(application_ref="feature") == ["application"]


def test_packer_gets_the_facts_of_the_run(world: World) -> None:
    world.deploy()
    base, _, application = (order.variables for order in world.orders)
    assert base["layer"] == "base"
    assert "application_commit" not in base
    assert [order.application is not None for order in world.orders] == [False, False, True]
    assert application["environment"] == "development"
    assert application["tags"]["bakeroll:commit"] == application["application_commit"]
    assert application["image_name"].split("-")[1] == application["tags"]["bakeroll:fingerprint"][:16]
