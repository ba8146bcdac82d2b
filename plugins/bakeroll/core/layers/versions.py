"""Which Packer and Ansible bake here: a different version may make a different image."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from functools import cache

from bakeroll.core.errors import BakeError

_TIMEOUT_SECONDS = 60
_NUMBER = re.compile(r"(\d+)\.(\d+)\.(\d+)\S*")
# Asking must neither phone home nor depend on anything but where the tools are.
_QUIET = {"CHECKPOINT_DISABLE": "1", "ANSIBLE_NOCOLOR": "1", "LC_ALL": "C.UTF-8"}


def tool_versions(env: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the tools, asking each binary once per process.

    :param env: the environment the tools run in; its PATH and HOME count.
    :raises BakeError: if a tool is missing or gives no version.
    """
    path, home = env.get("PATH", ""), env.get("HOME", "")
    return {
        "Packer": _ask("packer", "version", path, home),
        "Ansible": _ask("ansible-playbook", "--version", path, home),
    }


def at_least(version: str, major: int, minor: int) -> bool:
    """Tell whether a version is not older than another."""
    found = _NUMBER.match(version)
    return found is not None and (int(found[1]), int(found[2])) >= (major, minor)


@cache
def _ask(tool: str, argument: str, path: str, home: str) -> str:
    env = {**_QUIET, "PATH": path, "HOME": home}
    try:
        answer = subprocess.run(
            ["/usr/bin/env", tool, argument],
            env=env,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BakeError(
            f"{tool} {argument} did not answer within {_TIMEOUT_SECONDS} s; run it on the worker by hand"
        ) from error
    found = _NUMBER.search(answer.stdout)
    if answer.returncode != 0 or found is None:
        said = (answer.stderr or answer.stdout).strip().splitlines()
        raise BakeError(
            f"{tool} {argument} gave no version ({said[-1] if said else 'no output'}); "
            f"install it where PATH of the Airflow worker finds it"
        )
    return found[0].rstrip("])")
