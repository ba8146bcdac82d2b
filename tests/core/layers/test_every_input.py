"""Each kind of input is changed in turn, and exactly the right layers are rebuilt.

What a real bake opens is in tests/packer/test_real_bakes.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from bakeroll.core.layers import bakery as bakery_module
from tests.core.layers.world import World

REPOSITORY = Path(__file__).resolve().parents[3]
ALL = ["base", "application_base", "application"]
UPPER = ALL[1:]
TOP = ALL[2:]
NONE: list[str] = []
VERSIONS = {"Packer": "1.6.6", "Ansible": "2.19.1"}

# Kinds that the repository has no example of; they are there before the first image is made.
MORE = {
    "provisioners/roles/base/handlers/main.yml": "- name: Say so\n  ansible.builtin.debug:\n    msg: x\n",
    "provisioners/roles/base/files/notice": "x\n",
    "provisioners/roles/base/files/tool.sh": "#!/bin/sh\n",
    "provisioners/roles/base/vars/main.yml": "base_x: 1\n",
    "provisioners/roles/application_base/meta/main.yml": "dependencies:\n  - role: shared\n",
    "provisioners/roles/shared/tasks/main.yml": "- ansible.builtin.debug:\n    msg: x\n",
    "provisioners/roles/nobodys/tasks/main.yml": "- ansible.builtin.debug:\n    msg: x\n",
    "provisioners/roles/application/tasks/extra.yml": "- ansible.builtin.debug:\n    msg: x\n",
    "provisioners/filter_plugins/words.py": "class FilterModule:\n    pass\n",
    "provisioners/host_vars/default.yml": "x: 1\n",
    "provisioners/.galaxy/roles/left/tasks/main.yml": "[]\n",
    "notes.md": "x\n",
}


class Copy(World):
    """An account with the images of the repository's own packer/, and means to change their inputs."""

    def __init__(self, folder: Path, versions: dict[str, str]) -> None:
        super().__init__(folder)
        shutil.rmtree(self.packer_dir)
        shutil.copytree(REPOSITORY / "packer", self.packer_dir)
        for name, text in MORE.items():
            self.write(name, text)
        self.versions = versions
        self.head = (self.source / ".git/refs/heads/main").read_text().strip()

    def append(self, name: str, text: str = "\n# changed\n") -> None:
        path = self.packer_dir / name
        assert path.is_file(), f"{name} is not in the repository any more"
        path.write_text(path.read_text() + text)

    def rebuilt(self, ref: str | None = None) -> list[str]:
        """Tell what would be baked.

        :param ref: the commit by default, which git need not be asked for.
        """
        decided = self.bakery().decide(application_ref=ref or self.head)
        return [decision.layer for decision in decided.layers if decision.bake]


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    versions = dict(VERSIONS)
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setattr(bakery_module, "tool_versions", lambda env: dict(versions))
        world = Copy(tmp_path_factory.mktemp("every-input"), versions)
        patch.setattr(bakery_module, "run_packer", world.packer)
        assert world.deploy() == ALL
        assert world.deploy() == NONE
        yield world


@pytest.fixture
def world(baked: Copy, tmp_path: Path) -> Iterator[Copy]:
    """Give the account with a packer/ of the test's own; images are made in no test."""
    original, baked.packer_dir = baked.packer_dir, tmp_path / "packer"
    shutil.copytree(original, baked.packer_dir)
    baked.said.clear()
    try:
        yield baked
    finally:
        baked.packer_dir = original
        baked.versions.update(VERSIONS)


CONTENT = {
    # Packer
    "layer.pkr.hcl": ALL,
    "plugins.pkr.hcl": ALL,
    "variables/common.pkrvars.hcl": ALL,
    "variables/base.pkrvars.hcl": ALL,
    "variables/application_base.pkrvars.hcl": UPPER,
    "variables/application.pkrvars.hcl": TOP,
    # what all playbooks have in common
    "provisioners/ansible.cfg": ALL,
    "provisioners/requirements.yml": ALL,
    "provisioners/tasks/begin.yml": ALL,
    "provisioners/tasks/finish.yml": ALL,
    "provisioners/filter_plugins/words.py": ALL,
    # playbooks and what is in a role
    "provisioners/base.yml": ALL,
    "provisioners/application_base.yml": UPPER,
    "provisioners/application.yml": TOP,
    "provisioners/roles/base/tasks/main.yml": ALL,
    "provisioners/roles/base/tasks/kernel.yml": ALL,
    "provisioners/roles/base/handlers/main.yml": ALL,
    "provisioners/roles/base/templates/sysctl.conf.j2": ALL,
    "provisioners/roles/base/files/notice": ALL,
    "provisioners/roles/base/defaults/main.yml": ALL,
    "provisioners/roles/base/vars/main.yml": ALL,
    "provisioners/roles/application_base/tasks/libraries.yml": UPPER,
    "provisioners/roles/application_base/meta/main.yml": UPPER,
    "provisioners/roles/shared/tasks/main.yml": UPPER,  # by that dependency
    "provisioners/roles/application/tasks/build.yml": TOP,
    "provisioners/roles/application/templates/environment.env.j2": TOP,
    # variables, plain and in the vault
    "provisioners/group_vars/all/vars.yml": ALL,
    "provisioners/group_vars/all/secrets.yml": ALL,
    "provisioners/group_vars/base/vars.yml": ALL,
    "provisioners/group_vars/base/secrets.yml": ALL,
    "provisioners/group_vars/application_base/vars.yml": UPPER,
    "provisioners/group_vars/application_base/secrets.yml": UPPER,
    "provisioners/group_vars/application/vars.yml": TOP,
    "provisioners/group_vars/application/secrets.yml": TOP,
    "provisioners/group_vars/development/vars.yml": TOP,
    "provisioners/group_vars/development/secrets.yml": TOP,
}


# What is no input of development's layers.
UNRELATED = (
    "provisioners/group_vars/staging/vars.yml",
    "provisioners/group_vars/production/secrets.yml",
    "provisioners/host_vars/default.yml",
    "provisioners/roles/nobodys/tasks/main.yml",
    "provisioners/.galaxy/roles/left/tasks/main.yml",
    "provisioners/site.yml",
    "README.md",
    "notes.md",
)


def test_changed_files_that_no_layer_reaches(world: Copy) -> None:
    for name in UNRELATED:
        world.append(name)
    assert world.rebuilt() == NONE


@pytest.mark.parametrize(("name", "expected"), CONTENT.items(), ids=CONTENT)
def test_a_changed_file(world: Copy, name: str, expected: list[str]) -> None:
    world.append(name)
    assert world.rebuilt() == expected
    named = [line.split(" ", 1)[0] for line in world.said if f"files changed: {name}" in line]
    assert named[:1] == expected[:1], "the lowest layer's own line names the file"


Change = Callable[[Copy], Any]
EXTRA = "provisioners/roles/application/tasks/extra.yml"
TOOL = "provisioners/roles/base/files/tool.sh"


def _path(world: Copy, name: str) -> Path:
    return world.packer_dir / name


OTHERWISE: dict[str, tuple[Change, list[str]]] = {
    "a file became executable": (lambda world: _path(world, TOOL).chmod(0o755), ALL),
    "a file of a role was removed": (lambda world: _path(world, EXTRA).unlink(), TOP),
    "a file of a role was renamed": (
        lambda world: _path(world, EXTRA).rename(_path(world, EXTRA).with_name("other.yml")),
        TOP,
    ),
    "a file was added to a role": (lambda world: world.write(EXTRA.replace("extra", "new"), "[]\n"), TOP),
    "a file became a link": (
        lambda world: (_path(world, TOOL).unlink(), _path(world, TOOL).symlink_to("notice")),
        ALL,
    ),
    "a group got a further file": (
        lambda world: world.write("provisioners/group_vars/application_base/more.yml", "x: 1\n"),
        UPPER,
    ),
    "a new plugin": (lambda world: world.write("provisioners/library/news.py", ""), ALL),
    "another Packer": (lambda world: world.versions.update(Packer="1.11.2"), ALL),
    "another Ansible": (lambda world: world.versions.update(Ansible="2.19.2"), ALL),
}


@pytest.mark.parametrize(("change", "expected"), OTHERWISE.values(), ids=OTHERWISE)
def test_another_change(world: Copy, change: Change, expected: list[str]) -> None:
    change(world)
    assert world.rebuilt() == expected


def test_what_does_not_count(world: Copy) -> None:
    _path(world, TOOL).chmod(0o600)
    os.utime(_path(world, TOOL), (1, 1))
    world.write(f"{EXTRA}~", "left by an editor")
    world.write("provisioners/roles/new/tasks/main.yml", "[]\n")
    assert world.rebuilt() == NONE


def test_an_environment_bakes_its_own_application_only(world: Copy) -> None:
    layers = world.bakery("staging").decide().layers
    assert [decision.layer for decision in layers if decision.bake] == TOP


def test_a_new_commit(world: Copy) -> None:
    world.commit()
    assert world.rebuilt("main") == TOP
    assert world.rebuilt() == NONE, "the commit before has its image"


def test_a_new_source_image(world: Copy) -> None:
    found = world.clients.ec2.register_image(Name="debian-13")
    assert world.rebuilt() == ALL
    world.clients.ec2.deregister_image(ImageId=found["ImageId"])
    assert world.rebuilt() == NONE
