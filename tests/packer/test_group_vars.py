"""Which variables a layer sees, and that secrets are secret."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PROVISIONERS = Path(__file__).resolve().parents[2] / "packer" / "provisioners"
GROUP_VARS = PROVISIONERS / "group_vars"
GROUPS = {"all", "base", "application_base", "application", "development", "staging", "production"}
ENVIRONMENTS = ("development", "staging", "production")
VAULT_PASSWORD = "sandbox-vault-password"
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    folder = tmp_path_factory.mktemp("ansible")
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(VAULT_PASSWORD)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROVISIONERS / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_VAULT_PASSWORD_FILE": str(password),
        "LC_ALL": "C.UTF-8",
    }

    def run(program: str, *arguments: str) -> str:
        command = [str(TOOLS / program), *arguments]
        return subprocess.run(
            command, cwd=PROVISIONERS, env=environment, check=True, capture_output=True, text=True
        ).stdout

    return run


@pytest.fixture(scope="module")
def secrets(ansible: Callable[..., str]) -> dict[str, dict[str, Any]]:
    return {
        group: yaml.safe_load(ansible("ansible-vault", "view", str(GROUP_VARS / group / "secrets.yml")))
        for group in GROUPS
    }


def inventory(folder: Path, groups: list[str]) -> str:
    """Write an inventory as Packer's provisioner does: the host once in each of its groups."""
    path = folder / "inventory"
    path.write_text("".join(f"[{group}]\ndefault ansible_connection=local\n" for group in groups))
    return str(path)


def plain(group: str) -> dict[str, Any]:
    return dict(yaml.safe_load((GROUP_VARS / group / "vars.yml").read_text()))


def test_each_group_has_variables_and_secrets() -> None:
    assert {path.name for path in GROUP_VARS.iterdir()} == GROUPS
    for group in GROUPS:
        assert {path.name for path in (GROUP_VARS / group).iterdir()} == {"vars.yml", "secrets.yml"}


@pytest.mark.parametrize("group", sorted(GROUPS))
def test_secrets_are_encrypted(group: str) -> None:
    assert (GROUP_VARS / group / "secrets.yml").read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")


def test_each_secret_is_used_and_each_one_used_is_there(secrets: dict[str, dict[str, Any]]) -> None:
    text = "".join((GROUP_VARS / group / "vars.yml").read_text() for group in GROUPS)
    names = {name for group in secrets.values() for name in group}
    assert all(name.startswith("vault_") for name in names)
    assert {name for name in names if name not in text} == set()
    used = set(re.findall(r"\bvault_\w+", text))
    assert used - names == set()
    for environment in ENVIRONMENTS:
        assert secrets[environment].keys() == secrets["development"].keys()


def test_no_secret_is_shared_by_two_environments(secrets: dict[str, dict[str, Any]]) -> None:
    values = [value for environment in ENVIRONMENTS for value in secrets[environment].values()]
    assert len(values) == len(set(values))


def test_application_and_environments_set_different_variables(secrets: dict[str, dict[str, Any]]) -> None:
    """Both are groups of one rank: which of two values wins would hang on their names' order."""
    shared = plain("application").keys() | secrets["application"].keys()
    for environment in ENVIRONMENTS:
        assert shared & (plain(environment).keys() | secrets[environment].keys()) == set()
        assert plain(environment).keys() == plain("development").keys()


@pytest.mark.parametrize(
    "groups",
    [["base"], ["application_base"], ["application", "development"], ["application", "production"]],
    ids="+".join,
)
def test_a_layer_sees_its_own_groups_only(
    groups: list[str], ansible: Callable[..., str], secrets: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    asked = ["-i", inventory(tmp_path, groups), "--playbook-dir", str(PROVISIONERS), "--host", "default"]
    seen = json.loads(ansible("ansible-inventory", *asked))
    expected = {name for group in ["all", *groups] for name in (*plain(group), *secrets[group])}
    assert {name for name in seen if not name.startswith("ansible_")} == expected


@pytest.mark.parametrize("playbook", ["base", "application_base", "application", "site"])
def test_playbooks_are_sound(playbook: str, ansible: Callable[..., str], tmp_path: Path) -> None:
    hosts = inventory(tmp_path, ["base", "application_base", "application", "development"])
    ansible("ansible-playbook", "--syntax-check", "-i", hosts, f"{playbook}.yml")


def test_the_roles_do_not_know_the_sandbox() -> None:
    for path in PROVISIONERS.rglob("*"):
        if path.is_file() and path.suffix in {".yml", ".j2", ".cfg"} and path.parent.name != "development":
            text = path.read_text()
            assert "sandbox" not in text, path
            assert "127." not in text, path
