"""The process that holds one machine: builds its namespaces and mounts, and leads its first process.

Runs as ``python -m sandbox.machines.keeper <file>``; the file is a :class:`Plan` in JSON, standard input
is the lifeline (see :mod:`sandbox.leash`), standard output tells the server ``pid N`` and ``ready``, and
standard error is the machine's console. All mounts are made in this process's own mount namespace: none
appears on the host, and all vanish with the machine's last process. Imports only the standard library.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from sandbox import leash

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
PR_CAPBSET_DROP = 24

KEPT_FROM_MACHINES = {"NET_ADMIN": 12, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_TIME": 25}
"""Capabilities that would let a machine change the host it shares: network, kernel, ports, clock."""

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}

LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}

FIRST_PROCESS = ["/lib/systemd/systemd", "-v", "init"]

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "linux",
    "CURL_HOME": "/run/sandbox",
}

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one machine is made of. Paths are relative to ``state_dir``, for overlayfs limits their length."""

    state_dir: str
    machine: str
    """The machine's folder: root, upper, work, own, tmp, journal, archives, sysctl and sysctl-work."""
    layers: list[str]
    """Folders of the image's layers, the uppermost first."""
    hostname: str
    files: dict[str, str]
    """Files written at each boot, as cloud-init does: absolute path in the machine -> content."""
    machine_id: str
    """Written to /etc/machine-id if that is empty or missing, as systemd does: an image with an id in it
    gives the same one to all its machines (machine-id(5))."""

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount something.

    :raises OSError: with the kernel's reason and the target.
    """
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
    leash.check(result, f"mount {kind or 'bind'} on {target}")


def build(plan: Plan) -> None:
    """Make the machine's mounts, all but /proc, which belongs to the new PID namespace."""
    folder = plan.machine
    root = f"{folder}/root"
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    # redirect_dir: folders can be renamed as on any disk; metacopy off: a layer holds whole files;
    # volatile: no sync to disk, as machines live no longer than the server. Packages install much faster.
    options = (
        f"lowerdir={':'.join(plan.layers)},upperdir={folder}/upper,workdir={folder}/work,"
        "redirect_dir=on,metacopy=off,index=off,xino=off,volatile"
    )
    mount("machine", root, "overlay", 0, options)
    mount("tmpfs", f"{root}/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=25%")
    for name, mode in (("lock", 0o1777), ("sandbox", 0o755), ("systemd", 0o755), ("systemd/system", 0o755)):
        _folder(f"{root}/run/{name}", mode)
    _bind(f"{folder}/own", f"{root}/run/sandbox")
    for name, target in (
        ("tmp", "tmp"),
        ("journal", "var/log/journal"),
        ("archives", "var/cache/apt/archives"),
    ):
        Path(root, target).mkdir(parents=True, exist_ok=True)
        _bind(f"{folder}/{name}", f"{root}/{target}")
    mount("sysfs", f"{root}/sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _devices(f"{root}/dev")


def _devices(dev: str) -> None:
    mount("tmpfs", dev, "tmpfs", MS_NOSUID, "mode=755,size=1m")
    os.umask(0)
    for name, (major, minor) in DEVICES.items():
        os.mknod(f"{dev}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, target in LINKS.items():
        Path(dev, name).symlink_to(target)
    Path(dev, "ptmx").symlink_to("pts/ptmx")
    _folder(f"{dev}/pts", 0o755)
    mount(
        "devpts", f"{dev}/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"
    )
    _folder(f"{dev}/shm", 0o1777)
    mount("tmpfs", f"{dev}/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    os.umask(0o022)


def _processes(plan: Plan) -> None:
    """Mount /proc, with kernel parameters that are the machine's own.

    Machines share the host's network and kernel, so what a role writes to /proc/sys must not reach them:
    a copy of the host's values lies over it. What is random at each read stays the kernel's.
    """
    proc = f"{plan.machine}/root/proc"
    mount("proc", proc, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    folder = plan.machine
    options = f"lowerdir=sysctl,upperdir={folder}/sysctl,workdir={folder}/sysctl-work,volatile"
    mount("sysctl", f"{proc}/sys", "overlay", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    _bind("/proc/sys/kernel/random", f"{proc}/sys/kernel/random")
    mount("", f"{proc}/sys/kernel/random", "", MS_REMOUNT | MS_BIND | MS_RDONLY)


def _bind(source: str, target: str) -> None:
    mount(source, target, "", MS_BIND)


def _folder(path: str, mode: int) -> None:
    Path(path).mkdir()
    Path(path).chmod(mode)


def _identify(path: Path, machine_id: str) -> None:
    # UTF-8, as everywhere here: another codec would be imported from a root that is no longer there.
    if not path.exists() or not path.read_bytes().strip():
        path.write_text(f"{machine_id}\n", encoding="utf-8")


def _enter(root: str) -> None:
    os.chdir(root)
    leash.check(_libc.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    leash.check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def main(argv: list[str]) -> int:
    """Boot one machine and lead it to its end.

    :param argv: the plan's file.
    :return: the exit status of the machine's first process.
    """
    plan = Plan(**json.loads(Path(argv[0]).read_text(encoding="utf-8")))
    server, lifeline = os.dup(1), os.dup(0)
    os.set_inheritable(server, False)

    def say(line: str) -> None:
        os.write(server, f"{line}\n".encode())

    def first_process() -> NoReturn:
        os.setsid()
        _processes(plan)
        _enter(f"{plan.machine}/root")
        for name, content in plan.files.items():
            Path(name).unlink(missing_ok=True)  # the image may have a link in its place
            Path(name).write_text(content, encoding="utf-8")
        _identify(Path("/etc/machine-id"), plan.machine_id)
        for capability in KEPT_FROM_MACHINES.values():
            leash.prctl(PR_CAPBSET_DROP, capability)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(2, 1)
        for number in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        say("ready")
        os.closerange(3, 1024)
        os.execve(FIRST_PROCESS[0], FIRST_PROCESS, ENVIRONMENT)  # noqa: S606 - an argument list, no shell

    try:
        os.chdir(plan.state_dir)
        leash.unshare(leash.CLONE_NEWNS | leash.CLONE_NEWUTS | leash.CLONE_NEWIPC | leash.CLONE_NEWPID)
        build(plan)
        # The host's name in the UTS namespace; /proc/sys/kernel/hostname is a copy and says it as well.
        name = plan.hostname.encode()
        leash.check(_libc.sethostname(name, len(name)), "sethostname")
    except OSError as error:
        sys.stderr.write(f"The machine could not be built: {error}\n")
        return 126
    return leash.lead(first_process, lifeline, say)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
