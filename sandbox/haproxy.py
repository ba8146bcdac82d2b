"""One HAProxy for one listener: started on a leash, its servers set while it runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

START_TIMEOUT_SECONDS = 10.0
COMMAND_TIMEOUT_SECONDS = 5.0
REPOSITORY = Path(__file__).resolve().parents[1]

IDLE_SECONDS = 60
"""An Application Load Balancer's default idle timeout (user guide, "Connection idle timeout")."""

CONFIGURATION = """\
global
    maxconn 2000
    nbthread 1
    stats socket unix@{socket} mode 600 level admin

defaults
    mode http
    balance roundrobin
    # No second chance for a request: what a rollout breaks has to be seen by the client.
    retries 0
    no option redispatch
    # Each request gets a connection of its own to its target, so none meets an idle one that the
    # target is just closing. The client's connection stays.
    option http-server-close
    option forwardfor
    timeout connect 10s
    timeout client {idle}s
    timeout server {idle}s
    timeout http-keep-alive {idle}s

frontend listener
    bind {address}:{port}
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Port {port}
    default_backend targets

backend targets
"""


class BalancerError(Exception):
    """A load balancer does not do as told; the text has HAProxy's words."""


class HAProxy:
    """A running HAProxy that listens on one address and port.

    :param folder: where its configuration, socket and log are.
    :param address: loopback address to listen on.
    :param port: port to listen on.
    :raises BalancerError: if it does not start.
    """

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self._name = f"{address}-{port}"
        self._folder = folder
        self._states: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        # Relative names, with HAProxy running in the folder: a socket's path may have 107 bytes only.
        configuration = CONFIGURATION.format(
            socket=f"{self._name}.sock", idle=IDLE_SECONDS, address=address, port=port
        )
        (folder / f"{self._name}.cfg").write_text(configuration, encoding="utf-8")
        self._log = folder / f"{self._name}.log"
        with self._log.open("wb") as log:
            self._leash = subprocess.Popen(
                [sys.executable, "-S", "-m", "sandbox.leash", "haproxy", "-db", "-f", f"{self._name}.cfg"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
                cwd=folder,
                start_new_session=True,
            )
        try:
            self._wait_until_up()
        except BalancerError:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._leash.poll() is None

    def set_servers(self, targets: Sequence[tuple[str, int, str]]) -> None:
        """Make its servers follow the targets; returns when new requests do.

        :param targets: address, port and ``healthy`` or ``draining`` of each.
        :raises BalancerError: if HAProxy refuses.
        """
        states = {"healthy": "ready", "draining": "drain"}
        wanted = {f"{address}:{port}": states[state] for address, port, state in targets}
        for place, state in wanted.items():
            self._set(place, state)
        for place in [place for place in self._states if place not in wanted]:
            self._remove(place)

    def close(self) -> None:
        """End it, cutting what it has."""
        if self._leash.stdin is not None:
            self._leash.stdin.close()
        self._leash.wait(timeout=START_TIMEOUT_SECONDS)
        (self._folder / f"{self._name}.sock").unlink(missing_ok=True)

    def _set(self, place: str, state: str) -> None:
        if self._states.get(place) == state:
            return
        server = _server(place)
        if place not in self._states:
            answer = self._command(f"add server {server} {place}")
            # One that could not be deleted yet, as it was still ending its last connection, is taken again.
            if "New server registered" not in answer and "Already exists" not in answer:
                raise BalancerError(f"{self._name}: {answer}")
        self._expect_silence(f"set server {server} state {state}")
        self._states[place] = state

    def _remove(self, place: str) -> None:
        server = _server(place)
        self._expect_silence(f"set server {server} state maint")
        self._expect_silence(f"shutdown sessions server {server}")
        self._command(
            f"del server {server}"
        )  # refused while a connection is ending; a stopped one does no harm
        self._states.pop(place)

    def _expect_silence(self, command: str) -> None:
        answer = self._command(command)
        if answer:
            raise BalancerError(f"{self._name}: {command}: {answer}")

    def _command(self, command: str) -> str:
        """Give one command to its runtime interface and return the answer."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(COMMAND_TIMEOUT_SECONDS)
                folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
                try:
                    connection.connect(f"/proc/self/fd/{folder}/{self._name}.sock")
                finally:
                    os.close(folder)
                connection.sendall(f"{command}\n".encode())
                answer = b""
                while part := connection.recv(4096):
                    answer += part
        except OSError as error:
            raise BalancerError(f"{self._name}: {command}: {error}") from error
        return answer.decode().strip()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self._command("show info")
            except BalancerError:
                if not self.alive or time.monotonic() > deadline:
                    words = self._log.read_text(encoding="utf-8", errors="replace").strip()
                    raise BalancerError(f"HAProxy does not listen on {self._name}: {words}") from None
                time.sleep(0.01)
            else:
                return


def _server(place: str) -> str:
    return "targets/" + place.replace(":", "_")
