"""Health checks against real listeners, with ELBv2's reason codes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from sandbox.machines.checks import check_target, matches
from sandbox.model.ports import HealthCheck

ADDRESS = "127.10.79.1"


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    with socket.create_server((ADDRESS, 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def check(port: int, protocol: str = "HTTP", timeout: float = 2.0) -> HealthCheck:
    return HealthCheck(
        protocol=protocol, port=port, path="/health", matcher="200-299", timeout_seconds=timeout
    )


def status(code: int) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.1 {code} Whatever\r\nContent-Length: 0\r\n\r\n".encode())

    return answer


def test_a_matching_status_is_healthy() -> None:
    with listener(status(204)) as port:
        assert check_target(ADDRESS, check(port)).healthy


def test_another_status_is_a_mismatch() -> None:
    with listener(status(503)) as port:
        result = check_target(ADDRESS, check(port))
    assert (result.reason, result.description) == (
        "Target.ResponseCodeMismatch",
        "Health checks failed with these codes: [503]",
    )


def test_no_answer_is_a_timeout_also_when_it_drips() -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(600):
            try:
                connection.sendall(b"H")
            except OSError:
                return
            time.sleep(0.05)

    with listener(drip) as port:
        began = time.monotonic()
        assert check_target(ADDRESS, check(port, timeout=0.3)).reason == "Target.Timeout"
        assert time.monotonic() - began < 15


def test_nobody_listening_and_nonsense_fail() -> None:
    assert check_target(ADDRESS, check(1)).reason == "Target.FailedHealthChecks"
    with listener(lambda connection: connection.sendall(b"SSH-2.0-x\r\n\r\n")) as port:
        assert check_target(ADDRESS, check(port)).reason == "Target.FailedHealthChecks"
        assert check_target(ADDRESS, check(port, protocol="TCP")).healthy


@pytest.mark.parametrize(
    ("matcher", "code", "expected"),
    [
        ("200", 200, True),
        ("200,202", 202, True),
        ("200,202", 201, False),
        ("200-299", 299, True),
        ("200", 404, False),
    ],
)
def test_matchers(matcher: str, code: int, expected: bool) -> None:
    assert matches(code, matcher) is expected
