"""The first package is installed with its hashes; services of packages do not start."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tools import set_up


def test_one_packages_lines_are_taken_with_their_hashes() -> None:
    before, after = "a==1 \\\n    --hash=sha256:aa\n", "uvloop==3 \\\n    --hash=sha256:dd\n"
    lock = f"{before}uv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n{after}"
    assert set_up.locked("uv", lock) == "uv==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"


def test_the_real_lock_has_uv() -> None:
    assert "--hash=sha256:" in set_up.locked("uv", set_up.LOCK.read_text())


def test_a_package_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(LookupError, match="does not lock uv"):
        set_up.locked("uv", "uvloop==1 \\\n    --hash=sha256:aa\n")


def test_services_are_held_back_only_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(set_up, "POLICY", policy)

    def interrupted() -> None:
        with set_up.services_held_back():
            assert "exit 101" in policy.read_text()
            assert policy.stat().st_mode & 0o111
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not policy.exists()


def test_an_administrators_own_policy_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    monkeypatch.setattr(set_up, "POLICY", policy)
    with set_up.services_held_back():
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert policy.exists()


def test_what_a_killed_set_up_left_is_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text(set_up.POLICY_TEXT)  # killed before it was made executable
    monkeypatch.setattr(set_up, "POLICY", policy)
    with set_up.services_held_back():
        assert policy.read_text() == set_up.POLICY_TEXT
        assert policy.stat().st_mode & 0o111
    assert list(tmp_path.iterdir()) == []


def test_a_termination_waits_until_packages_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "POLICY", tmp_path / "policy-rc.d")
    before = signal.getsignal(signal.SIGTERM)
    done: list[str] = []

    def terminated() -> None:
        with set_up.services_held_back():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("installed")

    with pytest.raises(SystemExit, match="143"):
        terminated()
    assert done == ["installed"]
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_packages_are_installed_and_their_services_stay_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(set_up, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(set_up, "run", lambda argv, _: ran.append(argv))
    set_up.install_packages(["packer", "openssh-server"])
    assert [argv[0] for argv in ran] == ["apt-get", "apt-get", "update-rc.d"]
    assert ran[1][-2:] == ["packer", "openssh-server"]
    assert ran[2] == ["update-rc.d", "ssh", "disable"]
