"""The services of docker-compose.yaml, run on this machine without containers, in the order they ask for."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demo import compose_file, natively, postgres, services
from demo.natively import Machine, Native, as_user
from demo.settings import ROOT, DemoError, Settings

FILE = ROOT / "docker-compose.yaml"
PROFILE = "sandbox"
#: Postgres, Redis and the API server in the containers; the other ports are named by variables.
PORTS = {"postgres": 5432, "redis": 6379, "api-server": 8080}
#: A first start makes a root filesystem from Debian's packages; several processes import Airflow at once.
START_TIMEOUT_SECONDS = 1200.0
POLL_SECONDS = 0.5
#: A service that is not ready yet is not asked all the time: asking takes processor time from its start.
HEALTH_SECONDS = 3.0
#: Where other users than ours can reach a folder, and none can put one in its place (sticky, ours).
SHARED = Path("/var/tmp")  # noqa: S108


@dataclass
class Containers:
    """The services, as far as they have been started.

    :param settings: folders and ports.
    :param ports: service -> its port on loopback.
    :param base: the environment that each gets besides its own.
    :param say: takes a progress line.
    """

    settings: Settings
    ports: Mapping[str, int]
    base: Mapping[str, str]
    say: Callable[[str], None]
    running: dict[str, services.Service] = field(default_factory=dict)
    _healthy: set[str] = field(default_factory=set)
    _asked: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        variables = {
            "COMPOSE_PROFILES": PROFILE,
            "BAKEROLL_AIRFLOW_PORT": str(self.settings.airflow_port),
            "BAKEROLL_SANDBOX_PORT": str(self.settings.sandbox_port),
        }
        self._folder = shared_folder(self.settings)
        self.machine = machine(self.settings, self._folder, self.ports)
        self._declared = compose_file.load(FILE, PROFILE, variables)
        self._native = {name: self.machine.translate(each) for name, each in self._declared.items()}

    @property
    def secrets(self) -> Path:
        """The folder of the generated secrets."""
        return self.machine.secrets

    def start(self) -> None:
        """Start all services, each when what it depends on is as it asks, and wait until all are healthy.

        :raises DemoError: if one fails, or it takes too long.
        """
        self._make_folders()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while waiting := [name for name in self._declared if not self._settled(name)]:
            for name in self._declared:
                if name not in self.running and self._may_start(name):
                    self._start(name)
            if time.monotonic() > deadline:
                raise DemoError(f"not ready after {START_TIMEOUT_SECONDS:.0f} s: {', '.join(waiting)}")
            time.sleep(POLL_SECONDS)

    def _may_start(self, name: str) -> bool:
        return all(self._is(other, condition) for other, condition in self._declared[name].needs.items())

    def _settled(self, name: str) -> bool:
        service = self._declared[name]
        if name not in self.running:
            return False
        if service.runs_on:
            self.running[name].require_running()
        condition = compose_file.HEALTHY if service.health else compose_file.COMPLETED
        return self._is(name, condition)

    def _is(self, name: str, condition: str) -> bool:
        """Tell whether a service is in the condition that another asks for."""
        started = self.running.get(name)
        if started is None:
            return False
        if condition == compose_file.COMPLETED:
            if started.process.poll() not in {None, 0}:
                started.require_running()  # it does not: that says so, with the end of its log
            return started.process.poll() == 0
        if condition == compose_file.HEALTHY:
            return self._is_healthy(name)
        return True

    def _is_healthy(self, name: str) -> bool:
        if name in self._healthy:
            return True
        if time.monotonic() < self._asked.get(name, 0.0):
            return False
        native = self._native[name]
        result = subprocess.run(
            as_user(native.user, native.health),
            cwd=self._home(native),
            env={**self.base, **native.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        self._asked[name] = time.monotonic() + HEALTH_SECONDS
        if result.returncode == 0:
            self.say(f"{name} is healthy")
            self._healthy.add(name)
        return result.returncode == 0

    def _start(self, name: str) -> None:
        native = self._native[name]
        if name == "postgres":
            data = self.machine.volumes["postgres"]
            postgres.make_cluster(native, data, self.base)
            command = postgres.server(native, data, self.ports[name])
        else:
            command = as_user(native.user, native.command)
        self.say(f"starting {name}")
        self.running[name] = services.start(
            name, command, {**self.base, **native.environment}, self.settings.build, self._home(native)
        )

    def _home(self, native: Native) -> Path:
        """Give the folder to run in; another user may not be let into ours."""
        return ROOT if native.user is None else self._folder

    def _make_folders(self) -> None:
        self._folder.mkdir(mode=0o711)
        self._folder.chmod(0o711)
        self.machine.secrets.mkdir(mode=0o711)
        self.machine.secrets.chmod(0o711)
        for name, folder in self.machine.volumes.items():
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            if name in natively.USERS:
                folder.chmod(0o700)
                os.chown(folder, *map(int, natively.owner(natively.USERS[name]).split(":")))


def machine(settings: Settings, folder: Path, ports: Mapping[str, int]) -> Machine:
    """Say where the containers' folders and ports are here.

    :param settings: folders and ports.
    :param folder: what other users than ours have to reach.
    :param ports: service -> its port on loopback.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Machine(
        volumes={
            "postgres": folder / "postgres",
            "redis": folder / "redis",
            "logs": settings.airflow_home / "logs",
            "cache": cache,
            "sandbox": account_side(settings).build,
            "sandbox-cache": Path(os.environ.get("BAKEROLL_CACHE") or cache / "bakeroll"),
        },
        secrets=folder / "secrets",
        airflow_home=settings.airflow_home,
        ports={PORTS[name]: port for name, port in ports.items()},
    )


def account_side(settings: Settings) -> Settings:
    """Give the settings that the service `sandbox` runs with: a folder of its own.

    :param settings: of the whole.
    """
    return Settings(settings.build / "account", settings.sandbox_port, settings.airflow_port)


def shared_folder(settings: Settings) -> Path:
    """Name the folder of what Postgres and Redis need, which run as users of their own.

    The demo's own folder may lie where they cannot reach it, e.g. below /root.

    :param settings: folders and ports.
    """
    clone = hashlib.sha256(str(settings.build).encode()).hexdigest()[:12]
    return SHARED / f"bakeroll-compose-{clone}"


def remove_shared_folder(settings: Settings) -> None:
    """Remove it, also what a killed run left.

    :param settings: folders and ports.
    :raises DemoError: if it belongs to somebody else.
    """
    folder = shared_folder(settings)
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    if folder.is_symlink() or status.st_uid != os.geteuid():
        raise DemoError(f"{folder} is not ours: it belongs to user {status.st_uid}; remove it")
    shutil.rmtree(folder)
