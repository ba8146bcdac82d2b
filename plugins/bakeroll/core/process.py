"""Run a command-line tool: its output line by line, and an orderly end when the task is killed."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from bakeroll.core import caretaker
from bakeroll.core.errors import ToolInterruptedError
from bakeroll.core.identity import group_members

LOOK_SECONDS = 0.1
"""How often new output is looked for."""

PATIENCE_SECONDS = 3.0
"""How long an interrupt waits for the tool: Airflow kills a task five seconds after asking it to stop."""


class Tool:
    """One run of a command-line tool in a session of its own.

    The tool gets its own session so that Airflow's signals reach only us and we decide how it ends:
    Packer and Terraform clean up after SIGINT, and lose things after SIGTERM or SIGKILL. Its output goes
    to a file, not into a pipe of ours: when our process is killed, it can still write and so clean up.

    :param grace_seconds: how long the tool may clean up after an interrupt before it is killed, as long
        as we live ourselves.
    """

    def __init__(self, grace_seconds: float = 120.0) -> None:
        self._grace_seconds = grace_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._interrupted_at: float | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        scratch: Path | None = None,
        afterwards: Sequence[Sequence[str]] = (),
        beside: Sequence[str] = (),
    ) -> int:
        """Run the tool to its end and hand over each line of its output (stdout and stderr) as it comes.

        :param argv: the program and its arguments; never a shell line.
        :param cwd: the folder to run in.
        :param env: the whole environment of the tool.
        :param on_line: called in this thread with each line, without its line feed.
        :param scratch: a folder that is removed when the tool ends and we no longer live then.
        :param afterwards: commands that are run before that, in the same folder and environment, when the
            tool ends and we no longer live then.
        :param beside: a program and its arguments that runs the tool, and does something beside it; empty:
            none.
        :return: the exit status.
        :raises ToolInterruptedError: if :meth:`interrupt` ended it.
        :raises FileNotFoundError: if the program is not there.
        """
        if self._interrupted_at is not None:
            raise ToolInterruptedError(f"{argv[0]} was not started: the task was told to stop")
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise FileNotFoundError(argv[0])
        with tempfile.TemporaryFile() as output:
            child = subprocess.Popen(
                # -I: nothing from the environment or the current folder gets into the caretaker itself.
                [
                    *(sys.executable, "-I", caretaker.__file__, str(os.getpid()), str(scratch or "")),
                    json.dumps([list(command) for command in afterwards]),
                    *beside,
                    *argv,
                ],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._child = child
            try:
                for line in self._lines(child, output):
                    on_line(line)
                if child.returncode < 0:
                    self._end_group(child)
            except BaseException:
                self.interrupt()
                self._see_end(child)
                raise
            finally:
                self._child = None
        if self._interrupted_at is not None:
            raise ToolInterruptedError(f"{argv[0]} was told to stop and ended with status {child.returncode}")
        return child.returncode

    @property
    def interrupted(self) -> bool:
        """Whether it was told to stop."""
        return self._interrupted_at is not None

    def interrupt(self) -> None:
        """Ask the tool and all it started to stop, and give it a moment to.

        Safe to call from a signal handler and more than once. Whoever calls it because its own process
        is about to be killed may go: the tool ends by itself.
        """
        child = self._child
        if self._interrupted_at is None:
            self._interrupted_at = time.monotonic()
            if child is not None:
                _signal_group(child, signal.SIGINT)
        if child is not None:
            _wait(child, PATIENCE_SECONDS)

    def _lines(self, child: subprocess.Popen[bytes], output: BinaryIO) -> Iterator[str]:
        """Yield each line as it is written, until the tool has ended and all is read."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        position, rest = 0, ""
        while True:
            ended = child.poll() is not None  # asked before reading, so that nothing written before is missed
            while chunk := os.pread(output.fileno(), 65536, position):
                position += len(chunk)
                *whole, rest = (rest + decoder.decode(chunk)).split("\n")
                yield from whole
            if ended:
                break
            self._kill_if_overdue(child)
            _wait(child, LOOK_SECONDS)
        if rest:
            yield rest

    def _kill_if_overdue(self, child: subprocess.Popen[bytes]) -> None:
        if self._interrupted_at is None:
            return
        if time.monotonic() - self._interrupted_at > self._grace_seconds:
            _signal_group(child, signal.SIGKILL)

    def _end_group(self, child: subprocess.Popen[bytes]) -> None:
        """End the tool, whose caretaker was killed outright: nobody is left who could tell of its end."""
        for number, seconds in ((signal.SIGINT, self._grace_seconds), (signal.SIGKILL, PATIENCE_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            deadline = time.monotonic() + seconds
            while group_members(child.pid):
                if time.monotonic() >= deadline:
                    break
                time.sleep(LOOK_SECONDS)

    def _see_end(self, child: subprocess.Popen[bytes]) -> None:
        if not _wait(child, self._grace_seconds):
            _signal_group(child, signal.SIGKILL)
            child.wait()


def _wait(child: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end, no longer than this; tells whether it came."""
    try:
        child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is not None:
        return
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return  # it ended in this moment, which is what was wanted
