"""The hypervisor of real machines: ports.Hypervisor, done with namespaces and overlay mounts."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from sandbox.machines.checks import check_target
from sandbox.machines.folders import MachineFolders
from sandbox.machines.images import Images
from sandbox.machines.machine import Machine
from sandbox.machines.rootfs import RootFilesystem
from sandbox.model.ports import CheckResult, CommandResult, HealthCheck, MachineEvents, MachineSpec

logger = logging.getLogger(__name__)

CONSOLE_BYTES = 64 * 1024
"""EC2 keeps the most recent 64 KB of a console (GetConsoleOutput, EC2 API reference)."""


class RealHypervisor:
    """Boots, stops, images and ends real machines on this host.

    Every method returns at once, except :meth:`prepare` and :meth:`close`; what takes time runs in
    daemon threads and answers through the callbacks, with no lock of this class held.

    :param state_dir: an own folder for machines and images, on a file system that overlayfs can write to;
        it must be empty: machines of an earlier server are not taken over.
    :param cache_dir: keeps the root filesystem and downloaded packages between runs and clones.
    :param stop_timeout_seconds: how long the units of a machine may take to stop before they are killed.
    :param boot_timeout_seconds: how long a machine's units may take to start before it counts as booted all
        the same, as on EC2, where "running" does not wait for them.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        cache_dir: Path,
        stop_timeout_seconds: float = 30.0,
        boot_timeout_seconds: float = 60.0,
    ) -> None:
        self._folders = MachineFolders(state_dir=state_dir.resolve(), cache_dir=cache_dir.resolve())
        self._stop_timeout_seconds = stop_timeout_seconds
        self._boot_timeout_seconds = boot_timeout_seconds
        self._images = Images(self._folders.state_dir)
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()

    def prepare(self, source_image_id: str, progress: Callable[[str], None]) -> None:
        """Make the root filesystem, if the cache has none yet, and offer it as an image. Takes a minute once.

        :param source_image_id: the image id that stands for it.
        :param progress: gets a line of text now and then.
        :raises MachineError: if something needed is missing on this host or debootstrap fails.
        """
        rootfs = RootFilesystem(self._folders.cache_dir).ensure(progress)
        self._folders.prepare()
        self._images.register_source(source_image_id, rootfs)

    def close(self) -> None:
        """End every machine at once and wait, at most a few seconds, until they are gone."""
        with self._lock:
            machines = list(self._machines.values())
        for machine in machines:
            machine.kill()
        for machine in machines:
            machine.join(timeout=5.0)

    def boot(self, machine: MachineSpec, events: MachineEvents) -> None:
        """Begin to boot a machine, or to boot it again after a stop.

        :param machine: what to boot; its user data is plain text, run once per instance if it begins with
            ``#!``.
        :param events: told ``booted`` when sshd answers and the enabled units were started, or ``failed``.
        """
        with self._lock:
            known = self._machines.get(machine.instance_id)
            if known is None:
                known = Machine(
                    machine.instance_id,
                    folders=self._folders,
                    images=self._images,
                    stop_timeout_seconds=self._stop_timeout_seconds,
                    boot_timeout_seconds=self._boot_timeout_seconds,
                )
                self._machines[machine.instance_id] = known
        known.boot(machine, events)

    def stop(self, instance_id: str) -> None:
        """Begin to stop it: its units are stopped in order, its file system stays."""
        self._machine(instance_id).stop()

    def terminate(self, instance_id: str) -> None:
        """Begin to end it, with its units stopped in order first, and to remove its file system."""
        self._machine(instance_id).terminate()

    def crash(self, instance_id: str) -> None:
        """Kill every process in it at once; it is told of as a machine that stopped by itself."""
        self._machine(instance_id).crash()

    def create_image(self, instance_id: str, image_id: str, done: Callable[[str | None], None]) -> None:
        """Begin to keep the file system of a stopped machine as an image.

        :param done: gets None, or what went wrong.
        """
        self._machine(instance_id).create_image(image_id, done)

    def delete_image(self, image_id: str) -> None:
        """Forget an image; its files stay as long as an image or a machine builds on them."""
        self._images.delete(image_id)

    def agent_online(self, instance_id: str) -> bool:
        """Tell whether an SSM agent would answer in it: between boot and stop, while its unit runs."""
        with self._lock:
            machine = self._machines.get(instance_id)
        return machine is not None and machine.agent_runs()

    def run_command(
        self, instance_id: str, script: str, timeout_seconds: float, done: Callable[[CommandResult], None]
    ) -> None:
        """Begin to run a shell script in it, as root; ``done`` is called in every case, once."""
        self._machine(instance_id).run_command(script, timeout_seconds, done)

    def cancel_command(self, instance_id: str, script: str) -> None:
        """Begin to end all scripts that were begun with exactly this text; their ``done`` is called."""
        self._machine(instance_id).cancel_command(script)

    def check_target(self, instance_id: str, check: HealthCheck, done: Callable[[CheckResult], None]) -> None:
        """Begin one health check, over the network as a load balancer does it."""
        address = self._machine(instance_id).address
        threading.Thread(
            target=lambda: done(check_target(address, check)), daemon=True, name=f"check {instance_id}"
        ).start()

    def console_output(self, instance_id: str) -> str:
        """Return the last 64 KB of its console; kept after its termination, empty if it never ran."""
        console = self._folders.console(instance_id)
        if not console.exists():
            return ""
        with console.open("rb") as stream:
            stream.seek(max(0, console.stat().st_size - CONSOLE_BYTES))
            return stream.read().decode(errors="replace")

    def _machine(self, instance_id: str) -> Machine:
        with self._lock:
            return self._machines[instance_id]


def remove_state(state_dir: Path) -> None:
    """Remove the files of a hypervisor that ended, however it ended.

    :param state_dir: its folder.
    :raises OSError: if something of it is still in use.
    """
    if state_dir.exists():
        shutil.rmtree(state_dir)
