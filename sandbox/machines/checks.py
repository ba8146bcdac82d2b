"""Health checks as a load balancer makes them, with ELBv2's reason codes.

Reasons and descriptions: Elastic Load Balancing user guide, "Health checks for target groups", "Target
health reason codes".
"""

from __future__ import annotations

import http.client
import socket
import time

from sandbox.model.ports import CheckResult, HealthCheck

TIMEOUT = CheckResult(healthy=False, reason="Target.Timeout", description="Request timed out")
FAILED = CheckResult(healthy=False, reason="Target.FailedHealthChecks", description="Health checks failed")


def check_target(address: str, check: HealthCheck) -> CheckResult:
    """Make one check and wait for its outcome, at most the check's timeout.

    :param address: the target's IP address.
    :param check: protocol HTTP or TCP; anything else fails.
    """
    deadline = time.monotonic() + check.timeout_seconds
    try:
        with socket.create_connection((address, check.port), timeout=check.timeout_seconds) as connection:
            if check.protocol == "TCP":
                return CheckResult(healthy=True)
            if check.protocol != "HTTP":
                return FAILED
            status = _ask(connection, address, check, deadline)
    except TimeoutError:
        return TIMEOUT
    except (OSError, http.client.HTTPException):
        return FAILED
    if matches(status, check.matcher):
        return CheckResult(healthy=True)
    return CheckResult(
        healthy=False,
        reason="Target.ResponseCodeMismatch",
        description=f"Health checks failed with these codes: [{status}]",
    )


def matches(status: int, matcher: str) -> bool:
    """Tell whether a status is one of ``200``, ``200,202`` or ``200-299`` (ELBv2 API reference, Matcher)."""
    for part in matcher.split(","):
        first, _, last = part.strip().partition("-")
        if int(first) <= status <= int(last or first):
            return True
    return False


def _ask(connection: socket.socket, address: str, check: HealthCheck, deadline: float) -> int:
    request = (
        f"GET {check.path} HTTP/1.1\r\nHost: {address}:{check.port}\r\n"
        "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\nConnection: close\r\n\r\n"
    )
    connection.settimeout(_left(deadline))
    connection.sendall(request.encode())
    # Only the head is read: a status line and headers within the time make an answer.
    head = b""
    while b"\r\n\r\n" not in head and len(head) < 65536:
        connection.settimeout(_left(deadline))
        part = connection.recv(4096)
        if not part:
            break
        head += part
    line = head.split(b"\r\n", 1)[0].split()
    if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
        raise http.client.BadStatusLine(head[:80].decode(errors="replace"))
    return int(line[1])


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
