"""The Packer template: every layer is valid, what is wrong is refused before anything is started."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKER = Path(__file__).resolve().parents[2] / "packer"
LAYERS = ("base", "application_base", "application")
COMMIT = "0123456789abcdef0123456789abcdef01234567"

pytestmark = pytest.mark.packer


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in ("packer", "ansible-playbook"):
        if shutil.which(tool) is None:
            reason = f"{tool} is not on PATH"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)


def packer(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "PACKER_NO_COLOR": "1"}
    command = ["packer", *arguments]
    return subprocess.run(command, cwd=PACKER, env=environment, capture_output=True, text=True, check=False)


def validate(
    folder: Path, layer: str, changed: Mapping[str, object] | None = None
) -> subprocess.CompletedProcess[str]:
    values: Mapping[str, object] = {
        "region": "ap-northeast-1",
        "source_ami": "ami-0123456789abcdef0",
        "image_name": f"{layer}-0123456789abcdef-0",
        "tags": {"bakeroll:layer": layer, "bakeroll:parent": "ami-0123456789abcdef0"},
        "manifest": str(folder / "manifest.json"),
        "environment": "development",
        "application_commit": COMMIT,
        **(changed or {}),
    }
    file = folder / "values.pkrvars.json"
    file.write_text(json.dumps(values))
    layers = [f"-var-file=variables/{name}.pkrvars.hcl" for name in ("common", layer)]
    return packer("validate", *layers, f"-var-file={file}", "layer.pkr.hcl")


@pytest.mark.parametrize("layer", LAYERS)
def test_each_layer_is_valid(layer: str, tmp_path: Path) -> None:
    result = validate(tmp_path, layer)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "arning" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("layer", "basement", "The layer must be"),
        ("source_ami", "debian-12", "The source AMI must be an image id"),
        ("image_name", "base-2026-01-01", "The image name must be"),
        ("application_commit", "main", "commit must be 40 hex digits"),
        ("ssh_interface", "telepathy", "The SSH interface must be"),
        ("temporary_security_group_source_cidrs", ["0.0.0.0/0"], "must not be open to everybody"),
        ("temporary_security_group_source_cidrs", [], "must not be open to everybody"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object, said: str, tmp_path: Path) -> None:
    result = validate(tmp_path, "base", {name: value})
    assert result.returncode != 0
    assert said in " ".join((result.stdout + result.stderr).split())


def test_it_is_formatted() -> None:
    result = packer("fmt", "-check", "-diff", ".")
    assert result.returncode == 0, result.stdout
    for file in sorted(PACKER.glob("variables/*.pkrvars.hcl")):
        assert packer("fmt", "-check", str(file)).returncode == 0, file.name


def test_every_variable_says_what_it_is() -> None:
    blocks = re.findall(
        r'^variable "(\w+)" \{(.*?)^\}', (PACKER / "layer.pkr.hcl").read_text(), re.MULTILINE | re.DOTALL
    )
    assert blocks
    for name, body in blocks:
        assert re.search(r"^  type +=", body, re.MULTILINE), f"{name} has no type"
        assert re.search(r"^  description +=", body, re.MULTILINE), f"{name} has no description"


def test_arguments_of_ansible_name_files_only() -> None:
    template = (PACKER / "layer.pkr.hcl").read_text()
    (arguments,) = re.findall(r"extra_arguments *= *(.*)", template)
    assert set(re.findall(r"var\.(\w+)", arguments)) == {"extra_vars_file"}
