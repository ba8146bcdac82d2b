from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bakeroll.core.errors import InputError, RepositoryError
from bakeroll.core.git import Git, Source


def resolve_commit(repository: str, ref: str) -> str:
    return Git(worker_env=os.environ).commit(Source(repository, ref))


def git(folder: Path, *arguments: str) -> str:
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
        "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
    }  # fmt: skip
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    git(tmp_path, "tag", "light")
    git(tmp_path, "tag", "-a", "heavy", "-m", "x")
    git(tmp_path, "branch", "feature/main")
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> str:
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("ref", "revision"),
    [
        ("main", "main"), ("HEAD", "main"), ("refs/heads/main", "main"), ("feature/main", "main~1"),
        ("light", "main~1"), ("heavy", "main~1"), ("refs/tags/heavy", "main~1"),
    ],
)  # fmt: skip
def test_a_ref_is_resolved_to_its_commit(repository: Path, ref: str, revision: str) -> None:
    assert resolve_commit(str(repository), ref) == git(repository, "rev-parse", revision)


def test_a_commit_stands_for_itself(tmp_path: Path) -> None:
    assert resolve_commit(str(tmp_path / "none"), "a" * 40) == "a" * 40


def test_a_missing_ref_is_named(repository: Path) -> None:
    with pytest.raises(InputError, match="has no branch or tag nowhere; correct"):
        resolve_commit(str(repository), "nowhere")
    with pytest.raises(InputError, match="has no branch or tag ain"):
        resolve_commit(str(repository), "ain")


def test_a_name_that_is_branch_and_tag_is_refused(repository: Path) -> None:
    git(repository, "branch", "light", "main~1")
    assert resolve_commit(str(repository), "light")
    git(repository, "branch", "-f", "light", "main")
    with pytest.raises(InputError, match=r"a branch and a tag light that differ; write refs/heads/light"):
        resolve_commit(str(repository), "light")


@pytest.mark.parametrize(("address", "ref"), [("--upload-pack=touch x", "main"), (".", "--exit-code")])
def test_options_are_no_addresses(address: str, ref: str) -> None:
    with pytest.raises(InputError, match="may begin with a dash"):
        resolve_commit(address, ref)


def test_a_repository_that_does_not_answer_may_be_tried_again() -> None:
    with pytest.raises(RepositoryError, match=r"127\.0\.0\.1:1/x\.git cannot be read: fatal"):
        resolve_commit("http://127.0.0.1:1/x.git", "main")


@pytest.mark.parametrize("who", ["me:hunter2", "hunter2"])
def test_a_password_in_the_address_is_refused_and_not_shown(who: str) -> None:
    with pytest.raises(InputError, match="the address holds a password") as caught:
        resolve_commit(f"https://{who}@git.example.com/x.git", "a" * 40)
    assert "hunter2" not in str(caught.value)
    assert resolve_commit("ssh://git@git.example.com/x.git", "a" * 40)
