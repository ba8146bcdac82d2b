"""Roles, collections and playbooks from git repositories, as inputs of layers and as Ansible gets them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakeroll.core.errors import InputError
from bakeroll.core.git import Git
from bakeroll.core.layers.inputs import Inputs, trace
from bakeroll.core.layers.sources import prepared
from bakeroll.core.layers.staging import stage
from tests.git_servers import Repository

ROLE = {
    "tasks/main.yml": "- name: Write\n  ansible.builtin.template:\n    src: a.j2\n"
    "    dest: '{{ target }}/clock'\n    mode: '0644'\n",
    "templates/a.j2": "{% include 'b.j2' %}",
    "templates/b.j2": "tick",
    "meta/main.yml": "dependencies: []\n",
}
COLLECTION = {
    "galaxy.yml": "namespace: org\nname: layers\nversion: 1.0.0\n",
    "roles/motd/tasks/main.yml": "- name: Say\n  org.layers.say:\n    path: '{{ target }}/motd'\n",
    "playbooks/standard.yml": "- name: Standard\n  hosts: all\n  gather_facts: false\n  roles:\n    - motd\n",
    "plugins/modules/say.py": "from ansible.module_utils.basic import AnsibleModule\n"
    "m = AnsibleModule(argument_spec={'path': {'type': 'path'}})\n"
    "open(m.params['path'], 'w').write('hello')\nm.exit_json(changed=True)\n",
}


class World:
    """A Packer folder and the repositories it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packer = folder / "packer"
        self.clock = Repository(folder / "ansible-clock.git")
        self.clock.commit(ROLE)
        self.layers = Repository(folder / "layers.git")
        self.layers.commit(COLLECTION)
        for layer in ("base", "application_base", "application"):
            self.write(f"variables/{layer}.pkrvars.hcl", "")
        self.write("variables/common.pkrvars.hcl", "")
        self.write("layer.pkr.hcl", "")
        self.write(
            "provisioners/ansible.cfg",
            "[defaults]\nroles_path = roles:.galaxy/roles\ncollections_path = .galaxy/collections\n",
        )
        self.write("provisioners/base.yml", "- hosts: all\n  gather_facts: false\n  roles: [clock]\n")
        self.write("provisioners/application_base.yml", "- import_playbook: org.layers.standard\n")
        self.write("provisioners/application.yml", "- hosts: all\n")
        self.requirements(
            f"roles:\n  - src: git+file://{self.clock.path}\n    version: main\n    name: clock\n"
            f"  - name: community.thing\n    version: 1.2.3\n"
            f"collections:\n  - name: file://{self.layers.path}\n    type: git\n    version: main\n"
        )
        self.said: list[str] = []

    def write(self, name: str, text: str) -> None:
        path = self.packer / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def requirements(self, text: str) -> None:
        self.write("provisioners/requirements.yml", text)

    def git(self) -> Git:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        return Git(worker_env={**env, "BAKEROLL_CACHE": str(self.folder / "cache")})

    def inputs(self, decided: dict[str, str] | None = None) -> dict[str, Inputs]:
        with prepared(self.packer, self.git(), decided or {}, self.said.append) as ready:
            return {
                layer: trace(ready.packer_dir, layer, "development")
                for layer in ("base", "application_base", "application")
            }

    def commits(self) -> dict[str, str]:
        with prepared(self.packer, self.git(), {}, self.said.append) as ready:
            return dict(ready.commits)

    def refused(self) -> str:
        with pytest.raises(InputError) as caught:
            self.inputs()
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def paths(inputs: Inputs) -> set[str]:
    return {file.path.removeprefix("provisioners/") for file in inputs.files}


def changed(before: dict[str, Inputs], after: dict[str, Inputs]) -> list[str]:
    return [layer for layer in before if before[layer] != after[layer]]


def test_the_trace_goes_into_fetched_roles_and_collections(world: World) -> None:
    found = world.inputs()
    assert {f".galaxy/roles/clock/{name}" for name in ROLE} <= paths(found["base"])
    in_collection = {f".galaxy/collections/ansible_collections/org/layers/{name}" for name in COLLECTION}
    assert in_collection <= paths(found["application_base"])
    assert not any("layers" in path for path in paths(found["base"]))
    assert not any(".galaxy" in path for path in paths(found["application"]))
    head = world.clock.git("rev-parse", "HEAD")
    assert any(f"role clock file://{world.clock.path} main is commit {head}" in line for line in world.said)


def test_a_moved_branch_changes_the_layers_that_reach_it(world: World) -> None:
    before = world.inputs()
    world.clock.commit({"templates/b.j2": "tock"})
    moved = world.inputs()
    assert changed(before, moved) == ["base"]
    world.layers.commit({"plugins/modules/say.py": "# another\n"})
    assert changed(moved, world.inputs()) == ["application_base"]


def test_a_moved_branch_with_the_same_files_changes_nothing(world: World) -> None:
    before = world.inputs()
    world.clock.commit()
    assert changed(before, world.inputs()) == []


def test_what_was_decided_is_taken_though_the_branch_moved(world: World) -> None:
    before, decided = world.inputs(), world.commits()
    world.clock.commit({"templates/b.j2": "tock"})
    world.clock.git("branch", "-m", "main", "gone")
    assert changed(before, world.inputs(decided)) == []


def test_any_mention_of_a_collection_reaches_it(world: World) -> None:
    world.write("provisioners/application.yml", "- hosts: all\n  tasks:\n    - org.layers.say: {path: x}\n")
    before = world.inputs()
    world.layers.commit({"plugins/filter/f.py": ""})
    assert changed(before, world.inputs()) == ["application_base", "application"]


def test_a_role_of_a_role_may_come_from_another_repository(world: World) -> None:
    world.clock.commit({"meta/main.yml": "dependencies:\n  - role: org.layers.motd\n"})
    assert any("org/layers/roles/motd" in path for path in paths(world.inputs()["base"]))


def test_what_is_left_for_galaxy_is_all_that_galaxy_gets(world: World) -> None:
    with prepared(world.packer, world.git(), {}, world.said.append) as ready:
        rest = (ready.packer_dir / "provisioners/requirements.yml").read_text()
    assert rest == "collections: []\nroles:\n- name: community.thing\n  version: 1.2.3\n"


def test_nothing_is_fetched_where_nothing_is_asked_for(world: World) -> None:
    world.requirements("roles: []\ncollections: []\n")
    with prepared(world.packer, world.git(), {}, world.said.append) as ready:
        assert ready.packer_dir == world.packer
        assert ready.commits == {}


def test_collections_side_by_side_and_in_a_folder(world: World) -> None:
    files = {f"many/{name}": text.replace("layers", "deep") for name, text in COLLECTION.items()}
    world.layers.commit(files)
    world.write("provisioners/base.yml", "- import_playbook: org.deep.standard\n")
    assert "there is no galaxy.yml" in _with_collection(world, f"file://{world.clock.path}")
    world.requirements(_collection(f"git+file://{world.layers.path}#/many/"))
    assert any("org/deep/playbooks" in path for path in paths(world.inputs()["base"]))
    assert "there is no none/galaxy.yml" in _with_collection(world, f"file://{world.layers.path}#none")
    assert "leads out of the repository" in _with_collection(world, f"file://{world.layers.path}#../x")


def _collection(address: str) -> str:
    return f"roles: []\ncollections:\n  - name: {address}\n    type: git\n    version: main\n"


def _with_collection(world: World, address: str) -> str:
    world.write("provisioners/application_base.yml", "- hosts: all\n")
    world.requirements(_collection(address))
    return world.refused()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{src: 'git+file://CLOCK', version: nowhere}", "has no branch or tag nowhere; correct its version"),
        ("{src: 'git+file://CLOCK'}", "requirements.yml:2: role ansible-clock file://"),
        ("{src: 'git+file://CLOCK', version: main}", "role clock is neither in provisioners/roles/"),
        ("{src: 'git+file://CLOCK.none', scm: git, version: main}", "does not exist, or may not be seen"),
        (
            "{src: 'file://LAYERS/..', scm: git, name: '..', version: main}",
            "role '..' is no name for a folder",
        ),
        ("{src: 'https://me:hunter2@github.com/o/r', version: main}", "the address holds a password"),
        ("{src: 'git+file://CLOCK', version: '-x'}", "neither may begin with a dash"),
        ("{src: 'git+file://EMPTY', version: main}", "is no role: it holds none of tasks, handlers"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(world: World, entry: str, said: str) -> None:
    empty = Repository(world.folder / "empty.git")
    empty.commit({"README": ""})
    for name, repository in (("CLOCK", world.clock), ("LAYERS", world.layers), ("EMPTY", empty)):
        entry = entry.replace(name, str(repository.path))
    world.requirements(f"roles:\n  - {entry}\ncollections: []\n")
    refusal = world.refused()
    assert said in refusal
    assert "requirements.yml:2" in refusal or "base.yml:3" in refusal
    assert "hunter2" not in refusal


def test_ansible_runs_what_was_staged_and_nothing_else(world: World, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    target, staged = tmp_path / "target", tmp_path / "staged"
    target.mkdir()
    world.write(
        "provisioners/base.yml",
        "- hosts: all\n  gather_facts: false\n  roles: [clock]\n- import_playbook: org.layers.standard\n",
    )
    with prepared(world.packer, world.git(), {}, world.said.append) as ready:
        stage(trace(ready.packer_dir, "base", None), ready.packer_dir, staged)
    provisioners = staged / "provisioners"
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(provisioners / "ansible.cfg"),
    }  # fmt: skip
    done = subprocess.run(
        [str(program), "-i", "localhost,", "-c", "local", "-e", f"target={target}",
         "-e", f"ansible_python_interpreter={sys.executable}", "base.yml"],
        cwd=provisioners, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name: path.read_text() for path in target.iterdir()} == {"clock": "tick", "motd": "hello"}
