"""The root filesystem of the source image: Debian 12, made once by debootstrap and kept in the cache."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.machines.errors import MachineError

SUITE = "bookworm"

PACKAGES = (
    "openssh-server",
    "python3",
    "python3-venv",
    "python3-apt",  # Ansible's apt module needs it and would install it in each bake
    "sudo",
    "ca-certificates",
    "procps",
    "iproute2",
    "curl",
    "git",
)

APT_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
"""Settings of the host's apt that its machines need as well: proxies, and how old a mirror may be."""

SETUP = Path(__file__).with_name("source_image.sh")
SYSTEMCTL = Path(__file__).with_name("systemctl.py")
REPOSITORY = Path(__file__).resolve().parents[2]


class RootFilesystem:
    """The root filesystem in the cache folder; several sandboxes may ask for it at once.

    :param cache_dir: the cache folder.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir

    def ensure(self, progress: Callable[[str], None]) -> Path:
        """Return its folder, made first if it is not there or was made for other settings of this host.

        :param progress: gets lines of text while it is made.
        :raises MachineError: if this host lacks what is needed, or debootstrap fails.
        """
        _check_host()
        settings = _host_settings()
        folder = self._cache_dir / f"rootfs-{SUITE}-{_key(settings)}"
        if folder.exists():
            return folder
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self._cache_dir / "rootfs.lock", progress):
            if folder.exists():
                return folder
            for abandoned in self._cache_dir.glob("rootfs-*.partial"):
                shutil.rmtree(abandoned)
            partial = folder.with_name(folder.name + ".partial")
            _make(partial, settings, self._cache_dir / "debootstrap", progress)
            partial.rename(folder)
        return folder


def _check_host() -> None:
    if os.geteuid() != 0:
        raise MachineError("Real machines need root: namespaces and overlay mounts. Run this as root.")
    needed = {"debootstrap": "debootstrap", "ssh-keygen": "openssh-client", "nsenter": "util-linux"}
    missing = [package for program, package in needed.items() if shutil.which(program) is None]
    if missing:
        raise MachineError(f"Not installed: {', '.join(missing)}. Run: apt-get install {' '.join(missing)}")


def _systemctl_module() -> Path:
    found = importlib.util.find_spec("systemctl2.systemctl3")
    if found is None or found.origin is None:
        raise MachineError("docker-systemctl-replacement is not installed: see requirements/development.lock")
    return Path(found.origin)


def _host_settings() -> dict[str, bytes]:
    """Collect what a machine needs to reach the network from here: file in the machine -> content."""
    settings: dict[str, bytes] = {}
    for certificate in sorted(Path("/usr/local/share/ca-certificates").rglob("*.crt")):
        settings[f"usr/local/share/ca-certificates/{certificate.name}"] = certificate.read_bytes()
    pip = Path("/etc/pip.conf")
    if pip.exists():
        settings["etc/pip.conf"] = pip.read_bytes()
    apt = _apt_settings()
    if apt:
        settings["etc/apt/apt.conf.d/90host"] = apt
    return settings


def _apt_settings() -> bytes:
    if shutil.which("apt-config") is None:
        return b""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S607
    lines = [
        line
        for line in dump.stdout.splitlines()
        if line.startswith(APT_SETTINGS) and not line.endswith(' "";')
    ]
    proxy = os.environ.get("http_proxy")
    if proxy and not any(line.startswith("Acquire::http::Proxy ") for line in lines):
        lines.append(f'Acquire::http::Proxy "{proxy}";')
    return "".join(f"{line}\n" for line in lines).encode()


def _key(settings: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    parts = [
        " ".join(PACKAGES).encode(),
        SETUP.read_bytes(),
        SYSTEMCTL.read_bytes(),
        _systemctl_module().read_bytes(),
    ]
    for name, content in sorted(settings.items()):
        parts += [name.encode(), content]
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _make(folder: Path, settings: dict[str, bytes], packages: Path, progress: Callable[[str], None]) -> None:
    packages.mkdir(exist_ok=True)
    progress(f"Making the root filesystem of the source image with debootstrap ({SUITE}): a minute, once")
    _run(
        [
            "debootstrap",
            "--variant=minbase",
            f"--cache-dir={packages}",
            f"--include={','.join(PACKAGES)}",
            SUITE,
            str(folder),
        ],
        progress,
    )
    for name, content in settings.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    library = folder / "usr/lib/sandbox"
    library.mkdir(parents=True)
    shutil.copy(_systemctl_module(), library / "systemctl3.py")
    shutil.copy(SYSTEMCTL, library / "systemctl")
    shutil.copy(SETUP, library / "source_image.sh")
    _run(["chroot", str(folder), "/bin/sh", "-e", "/usr/lib/sandbox/source_image.sh"], progress)
    progress("The root filesystem is made")


def _run(argv: list[str], progress: Callable[[str], None]) -> None:
    """Run a program that may mount things, so that nothing of it stays if this process is killed."""
    command = [
        *(sys.executable, "-m", "sandbox.leash"),
        *("unshare", "--mount", "--propagation", "private", "--mount-proc", "--"),
        *argv,
    ]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in {"PATH", "http_proxy", "https_proxy", "no_proxy"}
    }
    environment |= {"PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    last: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd="/",
    ) as child:
        for line in child.stdout or ():
            last = [*last[-19:], line.rstrip()]
            if line.startswith(("I: Retrieving", "I: Installing", "I: Configuring", "I: Extracting")):
                progress(f"{argv[0]}: {line.strip()}")
    if child.returncode != 0:
        raise MachineError(f"{argv[0]} failed with status {child.returncode}:\n" + "\n".join(last))


@contextmanager
def _locked(path: Path, progress: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Another sandbox is making the root filesystem: waiting for it")
            fcntl.flock(stream, fcntl.LOCK_EX)  # the other one's lock goes with its process, so this ends
        yield
