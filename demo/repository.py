"""The demo application's git repository: made from ``demo/application``, served over git."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

APPLICATION = Path(__file__).resolve().parent / "application"
BRANCH = "main"
_REQUIREMENTS = APPLICATION / "requirements.txt"
_NEVER_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

#: Commits get a fixed author and no signature, whatever the user's own git settings are.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "bakeroll demo",
    "GIT_AUTHOR_EMAIL": "demo@example.com",
    "GIT_COMMITTER_NAME": "bakeroll demo",
    "GIT_COMMITTER_EMAIL": "demo@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def download_wheels(folder: Path) -> Path:
    """Put the wheels that the application's hashed requirements name into a folder.

    :param folder: made if it is not there; what already lies there and fits is not loaded again.
    :return: the folder.
    :raises subprocess.CalledProcessError: if the package index does not have them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", _REQUIREMENTS.read_text(encoding="utf-8")))
    if wanted == {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in folder.glob("*.whl")}:
        return folder
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--find-links", str(folder), "--dest", str(folder)]
    subprocess.run([*command, "--requirement", str(_REQUIREMENTS)], check=True)
    return folder


def create(path: Path, wheels_from: Path) -> str:
    """Make the repository with version 1 in its first commit.

    :param path: the working tree to make; it must not be there.
    :param wheels_from: the folder of :func:`download_wheels`; its wheels become part of the repository.
    :return: the commit, 40 hex digits.
    :raises FileExistsError: if the path is there already.
    :raises FileNotFoundError: if there is no wheel.
    """
    wheels = sorted(wheels_from.glob("*.whl"))
    if not wheels:
        raise FileNotFoundError(f"{wheels_from} holds no wheel: call download_wheels first")
    shutil.copytree(APPLICATION, path, ignore=_NEVER_COPIED)
    (path / "wheels").mkdir()
    for wheel in wheels:
        shutil.copy2(wheel, path / "wheels" / wheel.name)
    _git(path, "init", "--quiet", f"--initial-branch={BRANCH}")
    return commit_version(path, 1)


def commit_version(path: Path, number: int, *, faults: Collection[str] = ()) -> str:
    """Commit a version: the same application that calls itself something else.

    :param path: the working tree.
    :param number: what the VERSION file will say.
    :param faults: what answers 500 in this version: ``pages`` while its health check is green, ``health``.
    :return: the commit, 40 hex digits.
    """
    (path / "VERSION").write_text(f"{number}\n")
    (path / "FAULTS").unlink(missing_ok=True)
    if faults:
        (path / "FAULTS").write_text("".join(f"{fault}\n" for fault in faults))
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--allow-empty", f"--message=Release version {number}")
    return head(path)


def head(path: Path) -> str:
    """Name the newest commit, 40 hex digits."""
    return _git(path, "rev-parse", "HEAD").strip()


def daemon_command(base: Path, *, address: str, port: int) -> list[str]:
    """Give the command that serves the repositories in a folder, read only, as ``git://address:port/name``.

    The program is named directly: ``git daemon`` would leave it behind as a child of its own when killed.

    :param base: the folder that holds the repositories.
    :param address: the address to listen on; a loopback one.
    """
    program = Path(_git(base, "--exec-path").strip()) / "git-daemon"
    options = ["--reuseaddr", "--export-all", f"--base-path={base}"]
    return [str(program), *options, f"--listen={address}", f"--port={port}", str(base)]


def _git(path: Path, *arguments: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(path), *arguments],  # noqa: S607  # git is found as every other tool is, by PATH
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **_IDENTITY},
    )
    return finished.stdout
