"""Make ready what the commands need: `python3 -m tools.set_up demo|celery|test|check|journal|stop`.

Runs with the system's Python before the virtual environment exists: only the standard library may be
imported. What is missing and cannot be installed from here is named, with the way to get it, before
anything is changed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import prerequisites

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
LOCK = ROOT / "requirements/development.lock"
STAMP = ENVIRONMENT / "bakeroll.stamp"
#: Debian's way to say that installing a package starts no service, see invoke-rc.d(8).
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# bakeroll installs packages for their programs, not for their services\nexit 101\n"
#: Services of the packages above; a package enables its own for the next boot.
SERVICES = {
    "openssh-server": "ssh",
    "haproxy": "haproxy",
    "postgresql": "postgresql",
    "redis-server": "redis-server",
}


def main() -> int:
    """Check, then install what is missing."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.set_up", description=__doc__)
    parser.add_argument("purpose", choices=("demo", "celery", "test", "check", "journal", "stop"))
    purpose = parser.parse_args().purpose
    missing, hints = judge(purpose)
    for hint in hints:
        say(f"without it, tests are skipped: {hint}")
    if missing:
        say("missing on this machine; nothing was started:")
        for each in missing:
            say(f"  - {each}")
        return 1
    packages = (
        [] if purpose in {"journal", "stop"} else prerequisites.missing_packages(celery=purpose == "celery")
    )
    if packages and os.geteuid() == 0:
        install_packages(packages)
    make_environment()
    return 0


def judge(purpose: str) -> tuple[list[prerequisites.Missing], list[prerequisites.Missing]]:
    """Tell what stands in the way, and what only makes tests skip.

    :param purpose: `demo` needs everything, `celery` Postgres and Redis besides, `check` no real
        machines; `test` skips what it has not, but not in CI; `journal` and `stop` need Python only.
    """
    python = prerequisites.check_python()
    celery = purpose == "celery"
    tools = [*prerequisites.check_packages(celery=celery), *prerequisites.check_terraform()]
    machines = prerequisites.check_machines(ROOT)
    if purpose in {"demo", "celery"} or (purpose == "test" and os.environ.get("CI")):
        return [*python, *tools, *machines], []
    if purpose == "check":
        return [*python, *tools], []
    if purpose in {"journal", "stop"}:
        return python, []
    return python, [*tools, *machines]


def install_packages(packages: list[str]) -> None:
    """Install Debian packages without starting a service, now or at the next boot.

    :param packages: their names.
    """
    say(f"installing from Debian: {' '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": prerequisites.search_path()}
    with services_held_back():
        run(["apt-get", "update", "-q"], environment)
        run(["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages], environment)
        for package in packages:
            if package in SERVICES:
                run(["update-rc.d", SERVICES[package], "disable"], environment)
    started = [SERVICES[package] for package in packages if package in SERVICES]
    if started:
        say(f"the services of these packages were not started and stay off at boot: {', '.join(started)}")


@contextmanager
def services_held_back() -> Iterator[None]:
    """Keep package installation from starting services, if the machine has no policy of its own.

    A policy with our own text is what a killed set-up left: it is ours, and goes.
    """
    with one_at_a_time(POLICY.parent), termination_put_off():
        if POLICY.exists() and POLICY.read_bytes() != POLICY_TEXT.encode():
            yield
            return
        new = POLICY.with_name(f"{POLICY.name}.bakeroll")  # so that ours is never there in part
        new.write_text(POLICY_TEXT, encoding="utf-8")
        new.chmod(0o755)
        new.replace(POLICY)
        try:
            yield
        finally:
            POLICY.unlink()


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let other set-ups wait: one must not remove the policy while another installs.

    :param folder: locked meanwhile; nothing is written to it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def termination_put_off() -> Iterator[None]:
    """Obey SIGTERM only afterwards: it would leave the policy there, and packages half installed.

    :raises SystemExit: afterwards, if it came.
    """
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            raise SystemExit(128 + signal.SIGTERM)


def make_environment() -> None:
    """Bring .venv to what the lock file says, unless it is there already."""
    ENVIRONMENT.mkdir(exist_ok=True)
    with (ENVIRONMENT / "bakeroll.lock").open("w", encoding="utf-8") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two commands at once: the second waits and finds it done
        stamp = digest()
        if STAMP.exists() and STAMP.read_text(encoding="utf-8") == stamp:
            return
        say("installing the locked Python packages into .venv")
        before = time.monotonic()
        STAMP.unlink(missing_ok=True)
        python = str(ENVIRONMENT / "bin/python")
        run([sys.executable, "-m", "venv", str(ENVIRONMENT)], dict(os.environ))
        with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as lock:
            lock.write(locked("uv", LOCK.read_text(encoding="utf-8")))
            lock.flush()
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            run([*pip, "--require-hashes", "-r", lock.name], dict(os.environ))
        uv = [str(ENVIRONMENT / "bin/uv"), "pip", "install", "--quiet", "--python", python]
        # a first set-up downloads some 200 packages: a slow registry is waited for
        run([*uv, "--require-hashes", "-r", str(LOCK)], {"UV_HTTP_TIMEOUT": "120", **os.environ})
        STAMP.write_text(stamp, encoding="utf-8")
        say(f"Python packages are ready ({time.monotonic() - before:.0f} s)")


def locked(name: str, lock: str) -> str:
    """Take one package's lines, with its hashes, out of a lock file.

    :param name: the package.
    :param lock: the lock file's text.
    :raises LookupError: if the package is not in it.
    """
    lines: list[str] = []
    for line in lock.splitlines():
        if line.startswith(f"{name}=="):
            lines = [line]
        elif lines and line.startswith(" "):
            lines.append(line)
        elif lines:
            break
    if not lines:
        raise LookupError(f"{LOCK} does not lock {name}")
    return "\n".join(lines) + "\n"


def digest() -> str:
    """Name the state that .venv should have: the lock file's content and the Python it is for."""
    return hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()


def run(argv: list[str], environment: dict[str, str]) -> None:
    """Run a command; show its output only if it fails.

    :raises SystemExit: if it fails.
    """
    result = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if result.returncode:
        sys.stderr.buffer.write(result.stdout)
        raise SystemExit(f"set-up: {' '.join(argv[:4])} ... failed with status {result.returncode}")


def say(text: str) -> None:
    """Write a line for the person in front of the terminal."""
    sys.stderr.write(f"set-up: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
