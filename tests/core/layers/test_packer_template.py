"""What we hand to Packer and what its template declares must be the same."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import boto3
import pytest

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import BakeError
from bakeroll.core.layers.bakery import Bakery, Place
from bakeroll.core.layers.fingerprint import Document, document
from bakeroll.core.layers.images import image_name
from bakeroll.core.layers.inputs import LAYERS, trace, variable_files
from bakeroll.core.layers.packer import Order, run_packer
from bakeroll.core.layers.versions import tool_versions
from bakeroll.core.process import Tool

PACKER_DIR = Path(__file__).parents[3] / "packer"
ADDED_BY_THE_RUN = {"manifest", "vault_password_file"}
VARIABLE = re.compile(r'^variable "(\w+)" \{(.*?)^\}', re.MULTILINE | re.DOTALL)


def declared() -> dict[str, bool]:
    """Return the template's variables, and whether each needs a value."""
    template = (PACKER_DIR / "layer.pkr.hcl").read_text()
    return {
        name: re.search(r"^  default\s*=", body, re.MULTILINE) is None
        for name, body in VARIABLE.findall(template)
    }


def layer_document(layer: str) -> Document:
    return document(
        trace(PACKER_DIR, layer, "development"),
        "ami-0123456789abcdef0",
        {},
        "https://git.example.com/x.git",
        "a" * 40,
    )


def values(layer: str) -> dict[str, Any]:
    facts = {
        "region": "ap-northeast-1", "account_id": "123456789012", "state_bucket": "example-bakeroll",
        "source_ami": {"owners": ["self"], "name": "x"}, "application": {"repository": "x"},
        "terraform": {"root": "x"}, "fleets": {"web": {}},
    }  # fmt: skip
    make: Any = boto3.client
    bakery = Bakery(
        "development",
        Environment.model_validate(facts),
        clients=Clients(make),
        place=Place(PACKER_DIR),
        say=lambda line: None,
    )
    wanted = layer_document(layer)
    return bakery.variables(wanted, image_name(layer, wanted.fingerprint, 0), "0123456789abcdef")


@pytest.mark.parametrize("layer", LAYERS)
def test_every_value_has_a_variable_and_every_needed_variable_a_value(layer: str) -> None:
    given = set(values(layer)) | ADDED_BY_THE_RUN
    in_files = {
        name
        for path in variable_files(PACKER_DIR, layer)
        for name in re.findall(r"^(\w+)\s*=", path.read_text(), re.MULTILINE)
    }
    variables = declared()
    assert given | in_files <= set(variables)
    assert {name for name, needed in variables.items() if needed} <= given | in_files


@pytest.mark.parametrize("layer", LAYERS)
def test_the_inputs_of_this_repository_can_be_told(layer: str) -> None:
    paths = {file.path for file in trace(PACKER_DIR, layer, "development").files}
    assert {"layer.pkr.hcl", f"provisioners/{layer}.yml"} <= paths
    assert any(path.startswith(f"provisioners/roles/{layer}/tasks/") for path in paths)
    others = [other for other in LAYERS if other != layer]
    assert not [path for path in paths if any(f"roles/{other}/" in path for other in others)]


class Validating(Tool):
    """Runs ``packer validate`` where a build is asked for."""

    def run(self, argv: Any, **options: Any) -> int:
        changed = ["validate" if word == "build" else word for word in argv if word != "-color=false"]
        return super().run(changed, **options)


@pytest.mark.packer
@pytest.mark.parametrize("layer", LAYERS)
def test_packer_itself_takes_the_values_and_the_staged_inputs(layer: str, tmp_path: Path) -> None:
    missing = [tool for tool in ("packer", "ansible-playbook") if shutil.which(tool) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"{' and '.join(missing)} not found on PATH")
    assert not missing
    version = tool_versions(os.environ)["Packer"]
    order = Order(
        trace(PACKER_DIR, layer, "development"), "base-0-0", "ap-northeast-1", values(layer), version
    )
    said: list[str] = []
    # Validating leaves no manifest behind: that it is looked for at all means that Packer was content.
    with pytest.raises(BakeError) as caught:
        run_packer(
            order,
            packer_dir=PACKER_DIR,
            tool=Validating(10),
            credentials={},
            vault_password="x",
            say=said.append,
        )
    assert "no readable manifest" in str(caught.value), "\n".join(said)
