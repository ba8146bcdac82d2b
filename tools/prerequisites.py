"""What must be on this machine, and how to get what is not.

Runs before the virtual environment exists: only the standard library may be imported here.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

#: Executable -> the Debian package it comes in.
DEBIAN_PACKAGES = {
    "git": "git",
    "packer": "packer",
    "strace": "strace",
    "ssh": "openssh-client",
    "sshd": "openssh-server",
    "debootstrap": "debootstrap",
    "haproxy": "haproxy",
}
#: What `make celery` needs besides. Debian keeps the programs of Postgres where no PATH leads.
CELERY_PACKAGES = {"redis-server": "redis-server", "redis-cli": "redis-tools", "setpriv": "util-linux"}
POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")
#: The S3 backend locks without DynamoDB from here on (`use_lockfile`).
TERRAFORM_AT_LEAST = (1, 10)
PYTHON = (3, 11)
#: CAP_SYS_ADMIN in the effective capabilities, see capabilities(7): without it nothing can be mounted.
CAP_SYS_ADMIN = 21
#: A root filesystem, three images on top of it, Airflow and the packages.
FREE_DISK_GIB = 4
#: Where Debian keeps what only root runs; not on everybody's PATH.
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


@dataclass(frozen=True)
class Missing:
    """One prerequisite that is not there."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}\n    {self.remedy}"


def search_path() -> str:
    """Give PATH with the folders of system programs added."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])


def missing_packages(*, celery: bool = False) -> list[str]:
    """Name the Debian packages whose programs are not on this machine.

    :param celery: whether Postgres and Redis are needed as well.
    """
    wanted = {**DEBIAN_PACKAGES, **(CELERY_PACKAGES if celery else {})}
    packages = [
        package for program, package in wanted.items() if not shutil.which(program, path=search_path())
    ]
    if celery and not list(POSTGRES_PROGRAMS.glob("*/bin/postgres")):
        packages.append("postgresql")
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian splits it off into a package of its own
    except ModuleNotFoundError:
        packages.append("python3-venv")
    return packages


def check_python() -> list[Missing]:
    """Look whether this interpreter is the one the locked requirements are for."""
    if sys.version_info[:2] == PYTHON:
        return []
    found = platform.python_version()
    return [
        Missing(
            f"Python 3.11 is needed, this is {found} ({sys.executable})",
            "Debian 12: apt-get install python3 python3-venv; or: make PYTHON=/path/to/python3.11 ...",
        )
    ]


def check_packages(*, celery: bool = False) -> list[Missing]:
    """Look whether the missing Debian packages can be installed.

    :param celery: whether Postgres and Redis are needed as well.
    """
    packages = missing_packages(celery=celery)
    if not packages or (os.geteuid() == 0 and shutil.which("apt-get")):
        return []
    return [
        Missing(
            f"missing from this machine: {', '.join(packages)}",
            f"as root: apt-get install {' '.join(packages)}",
        )
    ]


def check_terraform() -> list[Missing]:
    """Look for Terraform, new enough for a lock file in S3."""
    binary = "terraform"
    remedy = "https://developer.hashicorp.com/terraform/install (one binary; put it on PATH)"
    if not shutil.which(binary):
        return [Missing(f"{binary} is not on PATH", remedy)]
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    answer = subprocess.run(
        [binary, "version", "-json"], capture_output=True, text=True, check=False, env=environment
    )
    try:
        version = str(json.loads(answer.stdout)["terraform_version"])
        number = tuple(int(part) for part in version.split("-", maxsplit=1)[0].split(".")[:2])
    except (ValueError, KeyError):
        return [Missing(f"`{binary} version -json` gave no version: {answer.stderr.strip()}", remedy)]
    if number < TERRAFORM_AT_LEAST:
        return [Missing(f"{binary} 1.10 or newer is needed, this is {version}", remedy)]
    return []


def check_machines(folder: Path) -> list[Missing]:
    """Look whether the sandbox can start real machines here.

    :param folder: where the sandbox will keep their disks; its parent must exist.
    """
    if platform.system() != "Linux":
        return [Missing(f"Linux is needed, this is {platform.system()}", "use a Debian 12 machine or VM")]
    found = []
    if os.geteuid() != 0:
        found.append(
            Missing(
                "root is needed: the sandbox's instances are mount and PID namespaces of this machine",
                "run it as root: sudo make demo",
            )
        )
    elif not has_capability(CAP_SYS_ADMIN):
        found.append(
            Missing(
                "root may not mount here (no CAP_SYS_ADMIN)", "use a machine or VM, or a privileged container"
            )
        )
    free_gib = shutil.disk_usage(folder).free / 2**30
    if free_gib < FREE_DISK_GIB:
        found.append(
            Missing(f"only {free_gib:.1f} GiB are free in {folder}", f"{FREE_DISK_GIB} GiB are needed")
        )
    return found


def has_capability(number: int) -> bool:
    """Tell whether this process has a capability.

    :param number: its bit, from capabilities(7).
    """
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False
