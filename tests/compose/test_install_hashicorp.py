"""A program is installed only if the right, valid key signed the checksum of the very archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.settings import ROOT

SCRIPT = ROOT / "compose/install_hashicorp.sh"
PRODUCT, VERSION = "terraform", "1.2.3"
NEEDED = ("gpg", "curl", "unzip")


@pytest.fixture(autouse=True)
def programs() -> None:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"in CI nothing is skipped: apt-get install {' '.join(missing)}")
    if missing:
        pytest.skip(f"the image has them, this machine has not: {', '.join(missing)}")


@dataclass
class Releases:
    """HashiCorp's release server, as a folder, and a throwaway key."""

    folder: Path
    keyring: Path
    fingerprint: str

    @property
    def here(self) -> Path:
        return self.folder / PRODUCT / VERSION

    @property
    def archive(self) -> Path:
        return self.here / f"{PRODUCT}_{VERSION}_linux_amd64.zip"

    def gpg(self, *arguments: str) -> str:
        command = ["gpg", "--batch", "--homedir", str(self.keyring), "--pinentry-mode", "loopback"]
        result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def sign(self) -> None:
        sums = self.here / f"{PRODUCT}_{VERSION}_SHA256SUMS"
        digest = hashlib.sha256(self.archive.read_bytes()).hexdigest()
        sums.write_text(f"{64 * '0'}  other.zip\n{digest}  {self.archive.name}\n")
        self.gpg("--yes", "--passphrase", "", "--output", f"{sums}.sig", "--detach-sign", str(sums))
        self.gpg("--yes", "--armor", "--output", str(self.folder / "key.txt"), "--export", self.fingerprint)

    def install(self, target: Path, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(target),
            "HASHICORP_RELEASES": f"file://{self.folder}",
            "HASHICORP_KEY": f"file://{self.folder}/key.txt",
            "HASHICORP_KEY_FINGERPRINT": self.fingerprint,
            "TARGETARCH": "amd64",
            **settings,
        }
        return subprocess.run(
            [str(SCRIPT), PRODUCT, VERSION, str(target)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


def make_key(keyring: Path, *options: str) -> str:
    keyring.mkdir(mode=0o700, exist_ok=True)
    command = ["gpg", "--batch", "--homedir", str(keyring), "--pinentry-mode", "loopback", *options]
    command += ["--passphrase", "", "--quick-gen-key", "Test <test@example.com>", "ed25519", "sign", "1d"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    listed = subprocess.run(
        ["gpg", "--batch", "--homedir", str(keyring), "--with-colons", "--list-keys"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    keyring = tmp_path / "k"
    made = Releases(tmp_path / "releases", keyring, make_key(keyring))
    made.here.mkdir(parents=True)
    with zipfile.ZipFile(made.archive, "w") as archive:
        archive.writestr(PRODUCT, "#!/bin/sh\necho real\n")
        archive.writestr("LICENSE.txt", "text")
    made.sign()
    return made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def test_what_is_signed_is_installed(releases: Releases, target: Path) -> None:
    result = releases.install(target)
    assert result.returncode == 0, result.stderr
    assert subprocess.run([str(target / PRODUCT)], capture_output=True, check=True).stdout == b"real\n"
    assert [file.name for file in target.iterdir()] == [PRODUCT]


def refused(result: subprocess.CompletedProcess[str], target: Path, why: str) -> None:
    assert result.returncode != 0
    assert why in result.stderr
    assert list(target.iterdir()) == []


def test_another_archive_is_refused(releases: Releases, target: Path) -> None:
    with zipfile.ZipFile(releases.archive, "w") as archive:
        archive.writestr(PRODUCT, "#!/bin/sh\necho evil\n")
    refused(releases.install(target), target, "is not what HashiCorp signed")


def test_changed_checksums_are_refused(releases: Releases, target: Path) -> None:
    sums = releases.here / f"{PRODUCT}_{VERSION}_SHA256SUMS"
    sums.write_text(sums.read_text() + "\n")
    refused(releases.install(target), target, "is not signed by a valid key")


def test_another_key_is_refused(releases: Releases, target: Path, tmp_path: Path) -> None:
    real = releases.fingerprint
    other = Releases(releases.folder, tmp_path / "o", make_key(tmp_path / "o"))
    other.sign()
    refused(other.install(target, HASHICORP_KEY_FINGERPRINT=real), target, f"with the fingerprint {real}")


def test_an_expired_key_is_refused(releases: Releases, target: Path, tmp_path: Path) -> None:
    """Gpg itself ends with status 0 on it."""
    old = tmp_path / "e"
    expired = Releases(releases.folder, old, make_key(old, "--faked-system-time", "20240101T000000"))
    sums = releases.here / f"{PRODUCT}_{VERSION}_SHA256SUMS"
    then = ("--faked-system-time", "20240101T010000", "--yes", "--passphrase", "")
    expired.gpg(*then, "--output", f"{sums}.sig", "--detach-sign", str(sums))
    expired.gpg("--yes", "--armor", "--output", str(releases.folder / "key.txt"), "--export")
    result = expired.install(target)
    assert "xpired" in result.stderr  # it is refused for that, and for nothing else
    refused(result, target, "is not signed by a valid key")


def test_a_missing_entry_is_refused(releases: Releases, target: Path) -> None:
    moved = releases.here / f"{PRODUCT}_{VERSION}_linux_arm64.zip"
    shutil.copy(releases.archive, moved)
    result = releases.install(target, TARGETARCH="arm64")
    assert result.returncode != 0
    assert list(target.iterdir()) == []


def test_an_archive_can_be_held_to_one_checksum(releases: Releases, target: Path) -> None:
    refused(releases.install(target, ARCHIVE_SHA256=64 * "0"), target, "has not the checksum")
    right = hashlib.sha256(releases.archive.read_bytes()).hexdigest()
    assert releases.install(target, ARCHIVE_SHA256=right).returncode == 0
