"""One machine through its life: each order is done after the one before it, by the machine's own thread."""

from __future__ import annotations

import logging
import queue
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from sandbox.machines.commands import Script
from sandbox.machines.errors import MachineError
from sandbox.machines.folders import MachineFolders
from sandbox.machines.images import Images
from sandbox.machines.keeper import Plan
from sandbox.machines.process import MachineProcess, answers_ssh
from sandbox.model.ports import CommandResult, MachineEvents, MachineSpec

logger = logging.getLogger(__name__)

AGENT_LOCK = "run/amazon-ssm-agent.lock"
"""Held by the unit that stands for the SSM agent in the source image."""

POLL_SECONDS = 0.05
SSH_GRACE_SECONDS = 10.0
"""How long sshd is waited for after the units were started; an image may have broken it."""

KILL_SECONDS = 10.0
"""How long the kernel may take to end what was killed."""

STATUS_FILE = "run/sysinit.target.status"
"""Where the first process says what state the system is in (docker-systemctl-replacement)."""


class Machine:
    """One machine.

    :param instance_id: its EC2 instance id.
    :param folders: where its files are.
    :param images: what it is launched from.
    :param stop_timeout_seconds: how long its units may take to stop.
    :param boot_timeout_seconds: how long its units may take to start.
    """

    def __init__(
        self,
        instance_id: str,
        *,
        folders: MachineFolders,
        images: Images,
        stop_timeout_seconds: float,
        boot_timeout_seconds: float,
    ) -> None:
        self.instance_id = instance_id
        self.address = ""
        self._folders = folders
        self._images = images
        self._stop_timeout_seconds = stop_timeout_seconds
        self._boot_timeout_seconds = boot_timeout_seconds
        self._spec: MachineSpec | None = None
        self._events: MachineEvents | None = None
        self._process: MachineProcess | None = None
        self._running = False
        self._killed = False
        self._ending = threading.Event()
        self._scripts: list[Script] = []
        self._scripts_lock = threading.Lock()
        self._orders: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"machine {instance_id}")
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it has booted and is not being stopped."""
        return self._running and not self._ending.is_set()

    def agent_runs(self) -> bool:
        """Tell whether it has booted and its SSM agent runs; an image may have none, or not start it."""
        process = self._process
        return self.running and process is not None and process.namespaces.locked(AGENT_LOCK)

    def boot(self, spec: MachineSpec, events: MachineEvents) -> None:
        """Order a boot."""
        self.address = spec.private_ip
        self._order(lambda: self._boot(spec, events))

    def stop(self) -> None:
        """Order a stop; a boot that is under way is given up."""
        self._ending.set()
        self._order(self._stop)

    def terminate(self) -> None:
        """Order its end."""
        self._ending.set()
        self._order(self._terminate)

    def crash(self) -> None:
        """End every process in it at once, as a power failure does; harmless if it does not run."""
        process = self._process
        if process is not None:
            process.kill()

    def create_image(self, image_id: str, done: Callable[[str | None], None]) -> None:
        """Order an image of it."""
        self._order(lambda: self._create_image(image_id, done))

    def kill(self) -> None:
        """End it at once, whatever it does; only for the end of the sandbox."""
        self._ending.set()
        self._killed = True
        process = self._process
        if process is not None:
            process.kill()
        self._order(lambda: True)

    def join(self, timeout: float) -> None:
        """Wait until it has ended after :meth:`kill`.

        :param timeout: seconds.
        """
        process = self._process
        if process is not None:
            process.gone.wait(timeout)
        self._thread.join(timeout)

    def run_command(self, text: str, timeout_seconds: float, done: Callable[[CommandResult], None]) -> None:
        """Begin to run a script in it."""
        script = Script(text, self.instance_id)
        with self._scripts_lock:
            self._scripts.append(script)
        threading.Thread(
            target=self._run_script,
            args=(script, timeout_seconds, done),
            daemon=True,
            name=f"script {self.instance_id}",
        ).start()

    def cancel_command(self, text: str) -> None:
        """End the scripts with this text."""
        with self._scripts_lock:
            scripts = [script for script in self._scripts if script.text == text]
        for script in scripts:
            script.kill()

    def _order(self, action: Callable[[], bool]) -> None:
        self._orders.put(action)

    def _work(self) -> None:
        """Do one order after the other until one of them says that it was the last."""
        last = False
        while not last:
            order = self._orders.get()
            try:
                last = order()
            except Exception:  # the thread must live on to stop and terminate the machine
                logger.exception("Machine %s: an order failed", self.instance_id)

    def _boot(self, spec: MachineSpec, events: MachineEvents) -> bool:
        self._spec, self._events = spec, events
        if self._orders.empty():
            self._ending.clear()
        began = time.monotonic()
        first_boot = not self._folders.machine(spec.instance_id).exists()
        try:
            plan = self._plan(spec)
            self._process = MachineProcess(
                plan,
                self._folders.machine(spec.instance_id) / "plan.json",
                self._folders.console(spec.instance_id),
                lambda reason: self._order(lambda: self._died(reason)),
            )
            self._wait_until_booted(self._process, began)
        except (MachineError, OSError, subprocess.SubprocessError) as error:
            self._end_process()
            if not self._ending.is_set():
                self._say_on_console(f"Boot failed: {error}")
            if not self._killed:
                events.failed(spec.instance_id, str(error))
            return False
        if self._ending.is_set():
            return False  # the stop or termination is the next order
        self._running = True
        events.booted(spec.instance_id)
        if first_boot and spec.user_data.startswith("#!"):
            self.run_command(spec.user_data, 3600.0, self._user_data_done)
        return False

    def _plan(self, spec: MachineSpec) -> Plan:
        layers = self._images.use(spec.instance_id, spec.image_id)
        self._folders.make_for_boot(spec.instance_id)
        folder = self._folders.machine(spec.instance_id)
        _write_own(folder / "own", spec)
        hostname = "ip-" + spec.private_ip.replace(".", "-")
        return Plan(
            state_dir=str(self._folders.state_dir),
            machine=str(folder.relative_to(self._folders.state_dir)),
            layers=[f"images/{layer}/layer" for layer in layers],
            hostname=hostname,
            files={
                # Machines share the host's loopback: localhost must be this machine and no other.
                "/etc/hosts": f"{spec.private_ip} localhost\n{spec.private_ip} {hostname}\n",
                "/etc/hostname": f"{hostname}\n",
                "/etc/resolv.conf": Path("/etc/resolv.conf").read_text(encoding="utf-8"),
                "/proc/sys/kernel/hostname": f"{hostname}\n",
            },
            machine_id=uuid.uuid4().hex,
        )

    def _wait_until_booted(self, process: MachineProcess, began: float) -> None:
        """Wait until the units were started and sshd answers, or for as long as EC2 would not wait.

        :raises MachineError: if its first process ends.
        """
        units_deadline = began + self._boot_timeout_seconds
        while "SubState=running" not in process.namespaces.read(STATUS_FILE):
            if not self._go_on(process):
                return
            if time.monotonic() > units_deadline:
                self._say_on_console("Units are still starting: the machine counts as running")
                break
        ssh_deadline = time.monotonic() + SSH_GRACE_SECONDS
        while not answers_ssh(self.address):
            if not self._go_on(process):
                return
            if time.monotonic() > ssh_deadline:
                self._say_on_console("sshd does not answer: the machine counts as running")
                return

    def _go_on(self, process: MachineProcess) -> bool:
        if process.gone.wait(POLL_SECONDS):
            raise MachineError("its first process ended while it booted: its console says why")
        return not self._ending.is_set()

    def _stop(self) -> bool:
        was_there = self._process is not None
        self._shut_down()
        if self._events is not None and was_there:
            self._events.stopped(self.instance_id, "")
        return False

    def _terminate(self) -> bool:
        self._shut_down()
        folder = self._folders.machine(self.instance_id)
        if folder.exists():
            shutil.rmtree(folder)
        self._images.release(self.instance_id)
        if self._events is not None:
            self._events.terminated(self.instance_id)
        return True

    def _shut_down(self) -> None:
        """Stop the units in order and end every process, by force when the time is up."""
        process = self._process
        if process is None:
            return
        deadline = time.monotonic() + self._stop_timeout_seconds
        # Told again and again: until the first process has its handlers up, signals to it are lost.
        while time.monotonic() < deadline:
            process.terminate()
            if process.gone.wait(0.5):
                break
        else:
            self._say_on_console(f"Units did not stop within {self._stop_timeout_seconds:.0f} s: killed")
        self._end_process()

    def _died(self, reason: str) -> bool:
        process = self._process
        if process is None or not process.gone.is_set():
            return False  # the end of an earlier boot, which was asked for
        if self._killed:
            return True
        self._end_process()
        self._say_on_console(f"The machine stopped by itself: {reason}")
        if self._events is not None:
            self._events.stopped(self.instance_id, reason)
        return False

    def _end_process(self) -> None:
        self._running = False
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        if not process.gone.wait(KILL_SECONDS):
            raise MachineError(f"{self.instance_id} did not end within {KILL_SECONDS:.0f} s of being killed")
        process.namespaces.close()
        self._folders.keep_packages(self.instance_id)

    def _create_image(self, image_id: str, done: Callable[[str | None], None]) -> bool:
        problem = None
        if self._process is not None:
            problem = "The sandbox makes images of stopped instances only: stop it first"
        else:
            try:
                self._images.create(
                    self.instance_id, image_id, self._folders.machine(self.instance_id) / "upper"
                )
            except (MachineError, OSError, subprocess.SubprocessError) as error:
                problem = str(error)
        done(problem)
        return False

    def _run_script(
        self, script: Script, timeout_seconds: float, done: Callable[[CommandResult], None]
    ) -> None:
        process = self._process
        try:
            if process is None or not self.running:
                result = CommandResult(status=1, stdout="", stderr=f"{self.instance_id} is not running")
            else:
                result = script.run(process.namespaces, timeout_seconds)
        except OSError as error:
            result = CommandResult(status=1, stdout="", stderr=f"{self.instance_id} ended: {error}")
        finally:
            with self._scripts_lock:
                self._scripts.remove(script)
        done(result)

    def _user_data_done(self, result: CommandResult) -> None:
        self._say_on_console(f"User data ended with status {result.status}\n{result.stdout}{result.stderr}")

    def _say_on_console(self, text: str) -> None:
        with self._folders.console(self.instance_id).open("a", encoding="utf-8") as stream:
            stream.write(f"[sandbox] {text}\n")


def _write_own(folder: Path, spec: MachineSpec) -> None:
    """Write /run/sandbox: sshd's address, host key (kept over a stop) and keys, curl's settings."""
    key = folder / "ssh_host_ed25519_key"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", spec.instance_id, "-f", str(key)],  # noqa: S607
            check=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    (folder / "sshd_config").write_text(
        f"ListenAddress {spec.private_ip}\nHostKey /run/sandbox/{key.name}\n", encoding="utf-8"
    )
    # curl answers localhost itself, without /etc/hosts (RFC 6761).
    (folder / ".curlrc").write_text(f'connect-to = "localhost::{spec.private_ip}:"\n', encoding="utf-8")
    keys = folder / "authorized_keys"
    keys.mkdir(exist_ok=True)
    (keys / "admin").write_text("".join(f"{line.strip()}\n" for line in spec.public_keys), encoding="utf-8")
    folder.chmod(0o755)
