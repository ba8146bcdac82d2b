"""Each task that handles a secret says nothing, whatever goes wrong and however loud Ansible is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROVISIONERS = Path(__file__).resolve().parents[2] / "packer" / "provisioners"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def mentions(value: Any, names: set[str]) -> bool:
    return bool(names & set(re.findall(r"\w+", str(value))))


def secret_variables(provisioners: Path) -> set[str]:
    """Name the variables that hold something of a vault, directly or through others."""
    files = [*provisioners.glob("group_vars/*/vars.yml"), *provisioners.glob("roles/*/*s/main.yml")]
    variables = [
        entry for path in files if isinstance(values := load(path), dict) for entry in values.items()
    ]
    variables += [entry for path in provisioners.glob("*.yml") for entry in play_variables(path)]
    names = {name for _, value in variables for name in re.findall(r"\bvault_\w+", str(value))}
    assert names, "no variable of a vault is used"
    while more := {name for name, value in variables if mentions(value, names)} - names:
        names |= more
    return names


def play_variables(path: Path) -> Iterator[tuple[str, Any]]:
    plays = load(path)
    for play in plays if isinstance(plays, list) else []:
        yield from play.get("vars", {}).items()


def tasks(entries: Any) -> Iterator[dict[str, Any]]:
    for entry in entries or []:
        blocks = [key for key in ("block", "rescue", "always") if key in entry]
        for key in blocks:
            yield from tasks(entry[key])
        if not blocks:
            yield entry


def talkative(provisioners: Path) -> list[str]:
    """Name the tasks that handle a secret and do not have ``no_log``."""
    names = secret_variables(provisioners)
    found = []
    for path in sorted(provisioners.rglob("*.yml")):
        if not {"tasks", "handlers"} & {path.parent.name, path.parent.parent.name}:
            continue
        for task in tasks(load(path)):
            handled = [value for key, value in task.items() if key not in ("name", "when")]
            template = task.get("ansible.builtin.template", {}).get("src", "")
            source = path.parents[1] / "templates" / template
            text = source.read_text() if template and source.is_file() else ""
            if mentions([*handled, text], names) and task.get("no_log") is not True:
                found.append(task["name"])
    return found


def test_each_task_that_handles_a_secret_says_nothing() -> None:
    assert talkative(PROVISIONERS) == []


def test_a_task_that_would_talk_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "provisioners"
    shutil.copytree(PROVISIONERS, copy)
    for path in copy.rglob("tasks/*.yml"):
        path.write_text(path.read_text().replace("no_log: true", "no_log: false"))
    assert set(talkative(copy)) == {
        "Make the directories of the environment files",
        "Set the console password",
        "Write the credentials of package archives",
        "Write the environment files",
        "Write the forwarder's secrets",
    }
