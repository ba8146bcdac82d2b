"""Where the files of machines are."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sandbox.machines.errors import MachineError
from sandbox.machines.namespaces import host_sysctl

FRESH_PER_BOOT = ("work", "tmp", "sysctl", "sysctl-work", "archives")
KEPT = ("root", "upper", "own", "journal")


@dataclass(frozen=True, kw_only=True)
class MachineFolders:
    """The folders of one hypervisor.

    :param state_dir: machines, images and consoles; removed with the sandbox's state.
    :param cache_dir: what outlives it.
    """

    state_dir: Path
    cache_dir: Path

    def prepare(self) -> None:
        """Make what all machines share.

        :raises MachineError: if an earlier server's machines are there.
        """
        if (self.state_dir / "machines").exists():
            raise MachineError(f"{self.state_dir} holds the machines of an earlier server: remove it first")
        for name in ("machines", "images", "incoming", "consoles"):
            (self.state_dir / name).mkdir(parents=True, exist_ok=True)
        self.packages.mkdir(parents=True, exist_ok=True)
        host_sysctl(self.state_dir / "sysctl")

    @property
    def packages(self) -> Path:
        """Debian packages that machines downloaded."""
        return self.cache_dir / "packages"

    def machine(self, instance_id: str) -> Path:
        """Return one machine's folder."""
        return self.state_dir / "machines" / instance_id

    def console(self, instance_id: str) -> Path:
        """Return the file of its console's output, which outlives the machine."""
        return self.state_dir / "consoles" / f"{instance_id}.log"

    def make_for_boot(self, instance_id: str) -> None:
        """Make the folders of a machine, with those fresh that are so after each boot."""
        folder = self.machine(instance_id)
        for name in FRESH_PER_BOOT:
            if (folder / name).exists():
                shutil.rmtree(folder / name)
            (folder / name).mkdir(parents=True)
        for name in KEPT:
            (folder / name).mkdir(exist_ok=True)
        (folder / "tmp").chmod(0o1777)
        (folder / "archives" / "partial").mkdir()
        for package in self.packages.glob("*.deb"):
            _share(package, folder / "archives" / package.name)

    def keep_packages(self, instance_id: str) -> None:
        """Keep the packages that a machine downloaded, for the machines after it."""
        for package in (self.machine(instance_id) / "archives").glob("*.deb"):
            if not (self.packages / package.name).exists():
                _share(package, self.packages / package.name)


def _share(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where state and cache are on different file systems."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
