"""The demo application's repository: versions are commits, a build needs no package index."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import venv
from pathlib import Path

import pytest

from demo import repository

ADDRESS = "127.77.0.2"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository.download_wheels(tmp_path_factory.mktemp("wheels"))


def test_versions_are_commits_and_nothing_but_the_version_changes(wheels: Path, tmp_path: Path) -> None:
    path = tmp_path / "web"
    first = repository.create(path, wheels)
    second = repository.commit_version(path, 2)
    assert first != second == repository.head(path)
    changed = subprocess.run(
        ["git", "-C", path, "diff", "--name-only", first, second], check=True, capture_output=True, text=True
    )
    assert changed.stdout.split() == ["VERSION"]
    assert (path / "VERSION").read_text() == "2\n"


def test_a_fault_lasts_for_one_version(wheels: Path, tmp_path: Path) -> None:
    path = tmp_path / "web"
    repository.create(path, wheels)
    repository.commit_version(path, 2, faults=["pages"])
    assert (path / "FAULTS").read_text() == "pages\n"
    repository.commit_version(path, 3)
    assert not (path / "FAULTS").exists()


def test_its_build_needs_no_index(wheels: Path, tmp_path: Path) -> None:
    path = tmp_path / "web"
    repository.create(path, wheels)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    options = ["--quiet", "--no-index", "--require-hashes", "--find-links", "wheels"]
    install = [python, "-m", "pip", "install", *options, "--requirement", "requirements.txt"]
    subprocess.run(install, check=True, cwd=path)
    subprocess.run([python, "-c", "import web.server"], check=True, cwd=path)


def test_without_wheels_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="download_wheels"):
        repository.create(tmp_path / "web", tmp_path)
    assert not (tmp_path / "web").exists()


def test_it_is_served_over_git(wheels: Path, tmp_path: Path) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind((ADDRESS, 0))
        port = probe.getsockname()[1]
    commit = repository.create(tmp_path / "served" / "web", wheels)
    command = repository.daemon_command(tmp_path / "served", address=ADDRESS, port=port)
    daemon = subprocess.Popen(command)
    try:
        url = f"git://{ADDRESS}:{port}/web"
        listing = ["git", "ls-remote", url, "refs/heads/main"]
        for _ in range(200):
            seen = subprocess.run(listing, capture_output=True, text=True, check=False)
            if seen.returncode == 0:
                break
        assert seen.stdout.split()[:1] == [commit], seen.stderr
    finally:
        daemon.terminate()
        daemon.wait(timeout=10)
