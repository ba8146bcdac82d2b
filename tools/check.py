"""Every check of `make check`, each with its time; all are run, and the status tells whether all passed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bakeroll.core.terraform import mirror
from tools import terraform_mirror

ROOT = Path(__file__).resolve().parent.parent
PYTHON_FOLDERS = ("plugins", "dags", "sandbox", "demo", "tools", "ci", "compose")
#: Values that only a run knows.
PACKER_VALUES = {
    "region": "ap-northeast-1",
    "source_ami": "ami-0123456789abcdef0",
    "tags": {"bakeroll:layer": "any"},
    "environment": "development",
    "manifest": "manifest.json",
}
LAYERS = ("base", "application_base", "application")


def main() -> int:
    """Run the checks and name those that failed."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="bakeroll-check-") as name:
        scratch = Path(name)
        for what, check in checks(scratch):
            before = time.monotonic()
            problem = check()
            say(f"{'✗' if problem else '✓'} {what} ({time.monotonic() - before:.1f} s)")
            if problem:
                say(problem)
                failed.append(what)
    say(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def checks(scratch: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name each check, and what runs it and gives its problem or nothing.

    :param scratch: an empty folder for what tools leave behind.
    """
    commands = {
        "format": ["ruff", "format", "--check", "."],
        "lint": ["ruff", "check", "."],
        "types": ["mypy", *(folder for folder in PYTHON_FOLDERS if any((ROOT / folder).rglob("*.py")))],
        "import contract": ["lint-imports"],
        "JSON schema": [sys.executable, "-m", "bakeroll.core.schema", "--check"],
        "YAML": ["yamllint", "--strict", "."],
        "Ansible": ["ansible-lint", "--offline", "--strict", "-q"],
        "Compose form": [
            "check-jsonschema",
            "--builtin-schema",
            "vendor.compose-spec",
            "docker-compose.yaml",
        ],
        "Dockerfile": ["hadolint", "Dockerfile"],
        "Terraform format": ["terraform", "fmt", "-check", "-recursive", "-diff", "terraform"],
    }
    for what, command in commands.items():
        yield what, partial(run, command)
    for root in terraform_roots():
        yield f"Terraform {root.relative_to(ROOT)}", partial(validate_terraform, root, scratch)
    for layer in LAYERS:
        yield f"Packer {layer}", partial(validate_packer, layer, scratch)
    yield "requirements name no registry", registry_hosts


def terraform_roots() -> list[Path]:
    """Give the folders that Terraform is run in: those that configure the provider."""
    files = (ROOT / "terraform").rglob("provider.tf")
    return sorted({file.parent for file in files if ".terraform" not in file.parts})


def validate_terraform(root: Path, scratch: Path) -> str:
    """Validate one root module in a copy, with providers from the mirror or the registry.

    :param root: its folder; Terraform would leave its data and a lock file there.
    :param scratch: an empty folder of ours.
    """
    copy = scratch / "terraform"
    if not copy.exists():
        shutil.copytree(ROOT / "terraform", copy, symlinks=True, ignore=shutil.ignore_patterns(".terraform*"))
    configuration = scratch / "terraform.tfrc"
    chosen = {**os.environ, terraform_mirror.SETTING: terraform_mirror.setting() or ""}
    mirror.plugin_cache(chosen).mkdir(parents=True, exist_ok=True)
    configuration.write_text(mirror.cli_config(chosen), encoding="utf-8")
    environment = {"TF_CLI_CONFIG_FILE": str(configuration), "TF_IN_AUTOMATION": "1"}
    terraform = ["terraform", f"-chdir={copy / root.relative_to(ROOT / 'terraform')}"]
    made_ready = run([*terraform, "init", "-backend=false", "-input=false", "-no-color"], environment)
    return made_ready or run([*terraform, "validate", "-no-color"], environment)


def validate_packer(layer: str, scratch: Path) -> str:
    """Validate the template with a layer's variable files.

    :param layer: the layer's name.
    :param scratch: an empty folder of ours.
    """
    values = scratch / f"{layer}.pkrvars.json"
    values.write_text(json.dumps({**PACKER_VALUES, "image_name": f"{layer}-{16 * '0'}-0"}), encoding="utf-8")
    files = [ROOT / f"packer/variables/{name}.pkrvars.hcl" for name in ("common", layer)]
    options = [f"-var-file={file}" for file in [*files, values]]
    template = ROOT / "packer/layer.pkr.hcl"
    return run(["packer", "validate", *options, str(template)], {"PACKER_CONFIG_DIR": str(scratch)})


def registry_hosts() -> str:
    """Look whether a lock file says where packages are to be had: that is every user's own business."""
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line}"
        for file in sorted((ROOT / "requirements").iterdir())
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if "://" in line
        or line.startswith(("-i", "--index", "--extra-index", "--find-links", "--trusted-host"))
    ]
    return "\n".join(found)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command.

    :param command: the program and its arguments.
    :param environment: variables besides our own.
    :return: its output if it failed, else nothing.
    """
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not on PATH"
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return (result.stdout.strip() or f"status {result.returncode}") if result.returncode else ""


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
