from __future__ import annotations

from pathlib import Path

import pytest

from bakeroll.core.errors import BakeError
from bakeroll.core.layers.versions import at_least, tool_versions

ANSIBLE = "ansible-playbook [core 2.19.14]\n  config file = None\n  python version = 3.11.2\n"


def tools(folder: Path, **outputs: str) -> dict[str, str]:
    for name, output in outputs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{output}\nEND\necho asked >> {folder}/asked\n")
        path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}


def test_the_binaries_are_asked_once(tmp_path: Path) -> None:
    env = tools(tmp_path, packer="Packer v1.6.6", ansible_playbook=ANSIBLE)
    assert tool_versions(env) == {"Packer": "1.6.6", "Ansible": "2.19.14"}
    assert tool_versions(env) == {"Packer": "1.6.6", "Ansible": "2.19.14"}
    assert (tmp_path / "asked").read_text().count("asked") == 2


def test_a_development_version_is_kept_whole(tmp_path: Path) -> None:
    env = tools(
        tmp_path, packer="Packer v1.12.0-dev", ansible_playbook="ansible-playbook [core 2.20.0b1] (x)"
    )
    assert tool_versions(env) == {"Packer": "1.12.0-dev", "Ansible": "2.20.0b1"}


def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    env = tools(tmp_path, ansible_playbook=ANSIBLE)
    with pytest.raises(BakeError, match=r"packer version gave no version .*install it"):
        tool_versions({**env, "PATH": f"{tmp_path}:/bin/none"})


@pytest.mark.parametrize(
    ("version", "enough"), [("1.6.6", False), ("1.7.0", True), ("1.12.0-dev", True), ("2.0.0", True)]
)
def test_versions_are_compared_by_number(version: str, enough: bool) -> None:
    assert at_least(version, 1, 7) is enough
