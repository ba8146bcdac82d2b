"""Find an unpacked mirror of the AWS provider on this machine, for those who cannot reach the registry.

`python -m tools.terraform_mirror` prints its folder, or nothing. Only the standard library is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SETTING = "BAKEROLL_TERRAFORM_MIRROR"
#: What a filesystem mirror holds, see "Implied Local Mirror Directories" in Terraform's CLI configuration.
PROVIDER = Path("registry.terraform.io/hashicorp/aws")
#: How far below a top folder a mirror may lie.
DEPTH = 4
#: Folders with a great many entries and never a mirror.
PASSED_OVER = frozenset({"node_modules", "__pycache__", "site-packages", "proc", "sys", "venv", "build"})


def top_folders() -> list[Path]:
    """Name the folders in which people and packages put such a mirror."""
    return [
        Path.home() / ".terraform.d",
        Path.home() / ".local/share",
        *(
            Path(name)
            for name in ("/usr/local/share", "/usr/share/terraform", "/usr/local/lib", "/opt", "/srv")
        ),
        Path.home(),
        Path("/usr/share"),
    ]


def find(tops: Sequence[Path]) -> Path | None:
    """Find the first mirror below some folders.

    :param tops: where to look, in this order.
    :return: the folder that contains `registry.terraform.io`, or None.
    """
    for top in tops:
        for folder in _folders(top, DEPTH):
            if (folder / PROVIDER).is_dir():
                return folder
    return None


def setting() -> str | None:
    """Give the mirror to use: the one that is set, else the one that is found, else None (the registry)."""
    chosen = os.environ.get(SETTING)
    if chosen:
        return chosen
    found = find(top_folders())
    return str(found) if found else None


def _folders(top: Path, depth: int) -> Iterator[Path]:
    """Give a folder and those below it, nearest first."""
    level = [top]
    for _ in range(depth):
        below = []
        for folder in level:
            yield folder
            below.extend(_subfolders(folder))
        level = below


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if entry.name not in PASSED_OVER
                and (not entry.name.startswith(".") or entry.name.startswith(".terraform"))
                and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []  # not there, or not for us to read: then no mirror of ours is in it


if __name__ == "__main__":
    sys.stdout.write(setting() or "")
