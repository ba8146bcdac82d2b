"""Images as chains of layers: each is the difference to the image its machine was launched from."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

from sandbox.machines.errors import MachineError

COPY_TIMEOUT_SECONDS = 600.0

MACHINE_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
"""What is written at each boot for one machine and so is left out of its image."""


class Images:
    """All images of the account. A layer is removed when neither an image nor a machine builds on it.

    :param state_dir: the hypervisor's folder; layers are in ``images/<image id>/layer``.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "images"
        self._incoming = state_dir / "incoming"
        self._chains: dict[str, tuple[str, ...]] = {}
        self._used: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()

    def register_source(self, image_id: str, rootfs: Path) -> None:
        """Offer a root filesystem as an image.

        :param image_id: its id.
        :param rootfs: a folder that is never changed.
        """
        folder = self._folder / image_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "layer").symlink_to(rootfs.resolve())
        with self._lock:
            self._chains[image_id] = (image_id,)

    def use(self, instance_id: str, image_id: str) -> tuple[str, ...]:
        """Note that a machine builds on an image, and return the image's layers, the uppermost first.

        :raises MachineError: if the image has no files here.
        """
        with self._lock:
            if image_id not in self._chains:
                raise MachineError(f"Image {image_id} has no root filesystem in this sandbox")
            self._used[instance_id] = self._chains[image_id]
            return self._used[instance_id]

    def release(self, instance_id: str) -> None:
        """Note that a machine is gone."""
        with self._lock:
            self._used.pop(instance_id, None)
            self._collect()

    def create(self, instance_id: str, image_id: str, upper: Path) -> None:
        """Keep a machine's file system as an image.

        :param upper: the machine's own layer, not mounted now.
        :raises MachineError: if it cannot be copied.
        """
        folder = self._incoming / image_id
        folder.mkdir(parents=True)
        layer = folder / "layer"
        # cp as root keeps owners, modes, times, hard links, ACLs, capabilities and overlayfs' own
        # marks of what was deleted: character devices 0:0 and trusted.overlay attributes.
        copy = subprocess.run(
            ["cp", "--archive", "--reflink=auto", str(upper), str(layer)],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
            timeout=COPY_TIMEOUT_SECONDS,
        )
        if copy.returncode != 0:
            shutil.rmtree(folder)
            raise MachineError(f"Image {image_id} could not be kept: {copy.stderr.strip()[-2000:]}")
        for name in MACHINE_FILES:
            (layer / name).unlink(missing_ok=True)
        with self._lock:
            folder.rename(self._folder / image_id)
            self._chains[image_id] = (image_id, *self._used[instance_id])

    def delete(self, image_id: str) -> None:
        """Forget an image; unknown ones are none of ours."""
        with self._lock:
            self._chains.pop(image_id, None)
            self._collect()

    def _collect(self) -> None:
        needed = {layer for chain in (*self._chains.values(), *self._used.values()) for layer in chain}
        for folder in self._folder.iterdir() if self._folder.exists() else ():
            if folder.name not in needed:
                shutil.rmtree(folder)
