"""A mirror is found where people put one, and never taken from elsewhere than where it was set."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import terraform_mirror


def mirror(folder: Path) -> Path:
    (folder / terraform_mirror.PROVIDER).mkdir(parents=True)
    return folder


def test_the_nearest_mirror_is_found(tmp_path: Path) -> None:
    mirror(tmp_path / "a/b/deep")
    near = mirror(tmp_path / "z")
    assert terraform_mirror.find([tmp_path / "not there", tmp_path]) == near


def test_earlier_folders_come_first(tmp_path: Path) -> None:
    mirror(tmp_path / "second")
    first = mirror(tmp_path / "first/plugins")
    assert terraform_mirror.find([tmp_path / "first", tmp_path / "second"]) == first


@pytest.mark.parametrize("folder", ["a/b/c/d/e", "node_modules", ".hidden"])
def test_what_is_too_deep_or_passed_over_is_not_found(tmp_path: Path, folder: str) -> None:
    mirror(tmp_path / folder)
    assert terraform_mirror.find([tmp_path]) is None


def test_terraforms_own_folder_is_looked_into(tmp_path: Path) -> None:
    own = mirror(tmp_path / ".terraform.d/plugins")
    assert terraform_mirror.find([tmp_path]) == own


def test_a_setting_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(terraform_mirror.SETTING, "/somewhere")
    monkeypatch.setattr(terraform_mirror, "top_folders", lambda: [mirror(tmp_path / "found")])
    assert terraform_mirror.setting() == "/somewhere"
    monkeypatch.delenv(terraform_mirror.SETTING)
    assert terraform_mirror.setting() == str(tmp_path / "found")
    monkeypatch.setattr(terraform_mirror, "top_folders", list)
    assert terraform_mirror.setting() is None
