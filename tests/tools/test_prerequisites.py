"""What is missing is named with the way to get it, before anything is changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tools import prerequisites, set_up


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(prerequisites, "SYSTEM_FOLDERS", ())
    return folder


def program(folder: Path, name: str, text: str = "exit 0") -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_missing_packages_are_named_by_their_debian_names(programs: Path) -> None:
    program(programs, "git")
    program(programs, "sshd")
    missing = prerequisites.missing_packages()
    assert {"packer", "debootstrap", "haproxy", "openssh-client"} <= set(missing)
    assert not {"git", "openssh-server"} & set(missing)


def test_postgres_and_redis_are_needed_for_celery_only(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prerequisites, "POSTGRES_PROGRAMS", tmp_path / "postgresql")
    databases = {"postgresql", "redis-server", "redis-tools"}
    assert not databases & set(prerequisites.missing_packages())
    assert databases <= set(prerequisites.missing_packages(celery=True))
    program(programs, "redis-server")
    program(programs, "redis-cli")
    (tmp_path / "postgresql/15/bin").mkdir(parents=True)
    (tmp_path / "postgresql/15/bin/postgres").touch()
    assert not databases & set(prerequisites.missing_packages(celery=True))


@pytest.mark.usefixtures("programs")
def test_without_root_the_command_to_install_them_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (missing,) = prerequisites.check_packages()
    assert "as root: apt-get install git packer" in str(missing)


@pytest.mark.usefixtures("programs")
def test_missing_terraform_is_named() -> None:
    (missing,) = prerequisites.check_terraform()
    assert "terraform is not on PATH" in str(missing)
    assert "https://developer.hashicorp.com/terraform/install" in str(missing)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"terraform_version": "1.11.4"}', ""),
        ('{"terraform_version": "1.10.0-rc1"}', ""),
        ('{"terraform_version": "1.9.8"}', "terraform 1.10 or newer is needed, this is 1.9.8"),
        ("{}", "gave no version"),
        ("no json", "gave no version"),
    ],
)
def test_terraform_must_be_new_enough(programs: Path, answer: str, problem: str) -> None:
    program(programs, "terraform", f"echo '{answer}'")
    found = "\n".join(map(str, prerequisites.check_terraform()))
    assert problem in found
    assert bool(found) == bool(problem)


def test_another_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    (missing,) = prerequisites.check_python()
    assert "Python 3.11 is needed" in str(missing)


def test_machines_need_root_and_a_capability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root is needed" in "\n".join(map(str, prerequisites.check_machines(tmp_path)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(prerequisites, "has_capability", lambda _: False)
    assert "privileged container" in "\n".join(map(str, prerequisites.check_machines(tmp_path)))


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "FREE_DISK_GIB", 10**6)
    assert f"GiB are free in {tmp_path}" in "\n".join(map(str, prerequisites.check_machines(tmp_path)))


def test_the_demo_stops_where_tests_only_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = prerequisites.Missing("terraform is not on PATH", "get it")
    monkeypatch.setattr(prerequisites, "check_terraform", lambda: [lacking])
    monkeypatch.setattr(prerequisites, "check_machines", lambda _: [])
    monkeypatch.delenv("CI", raising=False)
    assert lacking in set_up.judge("demo")[0]
    assert set_up.judge("test") == ([], [lacking])
    assert set_up.judge("stop") == ([], [])
    monkeypatch.setenv("CI", "true")
    assert set_up.judge("test") == ([lacking], [])
