"""Shell scripts run in a machine, as the SSM agent does it: as root, with a time limit, their output kept."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

from sandbox.machines.keeper import ENVIRONMENT, KEPT_FROM_MACHINES
from sandbox.machines.namespaces import Namespaces
from sandbox.model.ports import CommandResult

OUTPUT_BYTES = 256 * 1024
"""What is kept of each stream; more than any SSM limit (48,000 characters), so that the model can cut."""

PIPE_GRACE_SECONDS = 1.0
"""How long output is waited for after the script ended: something it started may hold the pipe for ever."""

# The script comes by standard input, so that it is in no argument list, and runs from a file as the
# agent's _script.sh does: with its #! line if it has one, with sh otherwise, and with an empty input.
RUN_FROM_STDIN = (
    'umask 077; f=$(mktemp /run/script.XXXXXX) && cat >"$f" && chmod 700 "$f" || exit 126; '
    'umask 022; sh -c "$f" </dev/null; status=$?; rm -f "$f"; exit $status'
)

BOUNDING_SET = ",".join(f"-{name.lower()}" for name in KEPT_FROM_MACHINES)


class Script:
    """One run of a script.

    :param text: what to run.
    :param instance_id: given to the script as ``AWS_SSM_INSTANCE_ID``, as the agent does.
    """

    def __init__(self, text: str, instance_id: str) -> None:
        self.text = text
        self._instance_id = instance_id
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False
        self._lock = threading.Lock()

    def run(self, namespaces: Namespaces, timeout_seconds: float) -> CommandResult:
        """Run it and wait for its end.

        :param timeout_seconds: after this it is killed with all it started in its session.
        :raises OSError: if the machine ended meanwhile.
        """
        shell = ["setpriv", f"--bounding-set={BOUNDING_SET}", "/bin/sh", "-c", RUN_FROM_STDIN]
        with self._lock, namespaces.entry(shell) as (command, descriptors):
            if self._ended:
                return CommandResult(
                    status=128 + signal.SIGKILL, stdout="", stderr="Cancelled before it began"
                )
            child = subprocess.Popen(
                command,
                pass_fds=descriptors,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**ENVIRONMENT, "AWS_SSM_INSTANCE_ID": self._instance_id},
                start_new_session=True,
            )
            self._child = child
        streams = [_Reader(child.stdout), _Reader(child.stderr)]
        timed_out = False
        try:
            _write(child.stdin, self.text)
            child.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            self.kill()
            child.wait()
        stdout, stderr = (stream.text() for stream in streams)
        status = child.returncode if child.returncode >= 0 else 128 - child.returncode
        return CommandResult(status=status, stdout=stdout, stderr=stderr, timed_out=timed_out)

    def kill(self) -> None:
        """End it and all it started in its session; harmless when it has ended."""
        with self._lock:
            self._ended = True
            if self._child is not None and self._child.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._child.pid, signal.SIGKILL)


def _write(stream: IO[bytes] | None, text: str) -> None:
    if stream is None:  # cannot be: it was opened with a pipe
        raise RuntimeError("the script was started without a pipe")
    with suppress(BrokenPipeError), stream:  # it may end, or its machine, before all was read
        stream.write(text.encode())


class _Reader:
    """Reads a stream to its end, keeping only the first part of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        if stream is None:  # cannot be: it was opened with a pipe
            raise RuntimeError("the script was started without a pipe")
        self._stream = stream
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True, name="script output")
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), 65536):
                if len(self._kept) < OUTPUT_BYTES:
                    self._kept += chunk[: OUTPUT_BYTES - len(self._kept)]

    def text(self) -> str:
        self._thread.join(timeout=PIPE_GRACE_SECONDS)
        return bytes(self._kept).decode(errors="replace")
