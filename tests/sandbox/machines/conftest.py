"""One hypervisor with real machines for the whole session, and means to wait for what it reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.machines.hypervisor import RealHypervisor, remove_state
from sandbox.model.ports import CommandResult, MachineSpec

SOURCE = "ami-0000000000000source"


class Events:
    """Remembers what a hypervisor reports."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.log: list[tuple[str, str, str]] = []

    def booted(self, instance_id: str) -> None:
        self._note("booted", instance_id, "")

    def stopped(self, instance_id: str, reason: str) -> None:
        self._note("stopped", instance_id, reason)

    def terminated(self, instance_id: str) -> None:
        self._note("terminated", instance_id, "")

    def failed(self, instance_id: str, reason: str) -> None:
        self._note("failed", instance_id, reason)

    def _note(self, *entry: str) -> None:
        with self._changed:
            self.log.append((entry[0], entry[1], entry[2]))
            self._changed.notify_all()

    def wait(self, what: str, instance_id: str, times: int = 1, seconds: float = 60.0) -> str:
        """Wait for the n-th report of a kind about an instance and return its reason."""

        def found() -> list[str]:
            return [reason for kind, name, reason in self.log if (kind, name) == (what, instance_id)]

        with self._changed:
            if not self._changed.wait_for(lambda: len(found()) >= times, seconds):
                raise AssertionError(f"no {what} of {instance_id} within {seconds} s, but {self.log}")
            return found()[times - 1]


class Machines:
    """A hypervisor as the tests use it."""

    def __init__(self, hypervisor: RealHypervisor, state_dir: Path, private_key: Path) -> None:
        self.hypervisor = hypervisor
        self.state_dir = state_dir
        self.private_key = private_key
        self.public_key = private_key.with_suffix(".pub").read_text()
        self.events = Events()
        self._numbers = 0

    def spec(self, image_id: str = SOURCE, user_data: str = "") -> MachineSpec:
        self._numbers += 1
        return MachineSpec(
            instance_id=f"i-{os.getpid():08x}{self._numbers:09x}",
            image_id=image_id,
            private_ip=f"127.10.{80 + self._numbers // 200}.{self._numbers % 200 + 1}",
            public_keys=[self.public_key],
            user_data=user_data,
        )

    def boot(self, image_id: str = SOURCE, user_data: str = "") -> MachineSpec:
        spec = self.spec(image_id, user_data)
        self.hypervisor.boot(spec, self.events)
        self.events.wait("booted", spec.instance_id)
        return spec

    def stop(self, spec: MachineSpec) -> None:
        self.hypervisor.stop(spec.instance_id)
        self.events.wait("stopped", spec.instance_id)

    def terminate(self, spec: MachineSpec) -> None:
        self.hypervisor.terminate(spec.instance_id)
        self.events.wait("terminated", spec.instance_id)

    def image(self, spec: MachineSpec, image_id: str) -> str:
        done = threading.Event()
        problems: list[str | None] = []

        def finished(problem: str | None) -> None:
            problems.append(problem)
            done.set()

        self.hypervisor.create_image(spec.instance_id, image_id, finished)
        assert done.wait(60)
        assert problems == [None]
        return image_id

    def run(self, spec: MachineSpec, script: str, timeout_seconds: float = 120.0) -> CommandResult:
        done = threading.Event()
        results: list[CommandResult] = []

        def finished(result: CommandResult) -> None:
            results.append(result)
            done.set()

        self.hypervisor.run_command(spec.instance_id, script, timeout_seconds, finished)
        assert done.wait(timeout_seconds + 20)
        return results[0]

    def read(self, spec: MachineSpec, script: str) -> str:
        """Run a script that must succeed and return what it printed."""
        result = self.run(spec, "set -e\n" + script)
        assert result.status == 0, result
        return result.stdout

    def ssh(self, spec: MachineSpec, command: str) -> subprocess.CompletedProcess[str]:
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
        ]
        return subprocess.run(
            [
                "ssh",
                *(part for option in options for part in ("-o", option)),
                *("-i", str(self.private_key), f"admin@{spec.private_ip}", command),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and "machines" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_machines)


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bakeroll"
    return Path(os.environ.get("BAKEROLL_CACHE") or default)


@pytest.fixture(scope="session")
def needs_machines() -> None:
    missing = [
        program for program in ("debootstrap", "nsenter", "ssh-keygen", "ssh") if not shutil.which(program)
    ]
    if os.geteuid() != 0:
        missing.append("root")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"real machines cannot be tested without {', '.join(missing)}")
    if missing:
        pytest.skip(f"real machines need {', '.join(missing)}")


@pytest.fixture(scope="session")
def machines(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, needs_machines: None
) -> Iterator[Machines]:
    folder = tmp_path_factory.mktemp("machines")
    state_dir = folder / "state"
    hypervisor = RealHypervisor(state_dir=state_dir, cache_dir=cache_dir, stop_timeout_seconds=10.0)
    hypervisor.prepare(SOURCE, print)
    key = folder / "key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(key)], check=True, timeout=60
    )
    yield Machines(hypervisor, state_dir, key)
    hypervisor.close()
    assert str(state_dir) not in Path("/proc/mounts").read_text()
    remove_state(state_dir)


@pytest.fixture(scope="module")
def machine(machines: Machines) -> Iterator[MachineSpec]:
    """Boot a machine that the tests of one file share."""
    spec = machines.boot()
    yield spec
    machines.terminate(spec)
