"""Keep a child process on a leash: it dies with the process that holds the other end, however that ends.

The holder keeps the write end of a pipe and never writes an end to it; the leash reads the other. When
the holder is gone, even by ``kill -9``, the kernel closes the pipe, the leash sees the end of the file
and kills what it leads. PR_SET_PDEATHSIG alone cannot do this for a server with threads: it fires when
the *thread* that forked ends. Between the leash, which has one thread, and its child it is right, and
covers a leash that is itself killed. What the leash leads is the first process of a PID namespace, so
nothing that it started survives it.

Runs alone as ``python -m sandbox.leash program arguments``; imports only the standard library.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000

PR_SET_PDEATHSIG = 1

TERMINATE = b"t"
"""What the holder writes to have the first process told to end in an orderly way."""

_libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise what the C library left in errno.

    :param result: what the function returned; negative means failure.
    :param what: names the call in the error.
    :raises OSError: if it failed.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the parent's namespaces.

    :param flags: CLONE_NEW* constants.
    :raises OSError: mostly EPERM, when not run by root.
    """
    check(_libc.unshare(flags), "unshare")


def prctl(option: int, value: int) -> None:
    """Set one attribute of this process.

    :param option: a PR_* constant.
    :param value: its first argument.
    :raises OSError: if the kernel refuses.
    """
    check(_libc.prctl(option, value, 0, 0, 0), f"prctl({option})")


def lead(first_process: Callable[[], NoReturn], lifeline: int, say: Callable[[str], None]) -> int:
    """Fork the first process of the PID namespace that was unshared, and lead it to its end.

    :param first_process: runs in the child and never returns; mostly an exec.
    :param lifeline: the read end of the holder's pipe.
    :param say: gets ``pid <number>`` once it runs.
    :return: its exit status; 128 + n if signal n ended it.
    """
    leash_pid = os.getpid()
    child = os.fork()
    if child == 0:
        _run_child(first_process, leash_pid)
    pidfd = os.pidfd_open(child)
    say(f"pid {child}")
    waiting = [lifeline, pidfd]
    while True:
        ready, _, _ = select.select(waiting, [], [])
        if pidfd in ready:
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        order = os.read(lifeline, 1)
        if order == TERMINATE:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        elif not order:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            waiting = [pidfd]


def _run_child(first_process: Callable[[], NoReturn], leash_pid: int) -> NoReturn:
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # Seen from a new PID namespace the parent is 0; without one, another parent means a dead leash.
        if os.getppid() not in (0, leash_pid):
            os._exit(1)
        first_process()
    except BaseException as error:  # noqa: BLE001 - a forked child must never run on into its parent's code
        sys.stderr.write(f"could not start: {error}\n")
        sys.stderr.flush()
    os._exit(127)


def main(argv: list[str]) -> int:
    """Run one program on a leash, as first process of its own PID namespace; standard input is the lifeline.

    :param argv: the program and its arguments.
    :return: its exit status.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the holder's terminal is the holder's business
    unshare(CLONE_NEWPID)
    lifeline = os.dup(0)

    def run() -> NoReturn:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 1024)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, no shell

    return lead(run, lifeline, lambda _: None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
