"""Asks an application over HTTP as its users do, each answer within a bound of time and bytes."""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bakeroll.core.gate_settings import MOST_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_elbv2.type_defs import ActionOutputTypeDef

    from bakeroll.core.gate_settings import HttpCheck

BODY_BYTES = 1024 * 1024
MISSED_ONCE_IN = 1000
"""A look may miss a version whose every answer is wrong once in so many times."""
LOOK_SECONDS = 60.0
"""How long one look may ask: a triggerer's threads are few."""
PLAIN = frozenset({"HTTP", "TCP", "TCP_UDP"})
ENCRYPTED = frozenset({"HTTPS", "TLS"})
"""Protocols of listeners that an HTTP client can speak to, without and with TLS."""


@dataclass(frozen=True)
class Address:
    """Where to ask.

    :ivar name: for what name to ask: the Host header, and the certificate's name.
    """

    host: str
    port: int
    encrypted: bool
    name: str

    def __str__(self) -> str:
        """Return it as an address of the web."""
        return f"{'https' if self.encrypted else 'http'}://{self.host}:{self.port}"


def find_address(
    elbv2: ElasticLoadBalancingv2Client, target_groups: Sequence[str], check: HttpCheck
) -> Address | str:
    """Return where a fleet's application answers, or why nobody can tell.

    :param elbv2: a boto3 client.
    :param target_groups: ARNs of the fleet's target groups.
    """
    if check.url:
        return _given(check.url, check)
    places = sorted(_places(elbv2, target_groups))
    for encrypted, host, port in places:  # without TLS first: one party less that can be wrong
        if not encrypted or check.host:
            return Address(host, port, encrypted, check.host or host)
    if places:
        return (
            f"the listener of {places[0][1]}:{places[0][2]} speaks TLS, and its certificate is for a name of "
            "yours: write it as gate.http.host"
        )
    return (
        "gate.http finds no listener whose default action forwards to a target group of the fleet; say where "
        "to ask, as gate.http.url"
    )


def _given(url: str, check: HttpCheck) -> Address:
    parts = urlsplit(url)
    encrypted = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if encrypted else 80)
    return Address(host, port, encrypted, check.host or host)


def _places(
    elbv2: ElasticLoadBalancingv2Client, target_groups: Sequence[str]
) -> Iterator[tuple[bool, str, int]]:
    """Yield (encrypted, DNS name, port) of each listener that forwards to one of the target groups."""
    if not target_groups:
        return
    described = elbv2.describe_target_groups(TargetGroupArns=list(target_groups))["TargetGroups"]
    arns = sorted({arn for group in described for arn in group.get("LoadBalancerArns", [])})
    if not arns:
        return
    for balancer in elbv2.describe_load_balancers(LoadBalancerArns=arns)["LoadBalancers"]:
        pages = elbv2.get_paginator("describe_listeners")
        for page in pages.paginate(LoadBalancerArn=balancer["LoadBalancerArn"]):
            for listener in page["Listeners"]:
                forwards = {arn for action in listener.get("DefaultActions", []) for arn in _forwards(action)}
                protocol = listener.get("Protocol", "")
                if forwards.intersection(target_groups) and protocol in PLAIN | ENCRYPTED:
                    yield protocol in ENCRYPTED, balancer["DNSName"], listener["Port"]


def _forwards(action: ActionOutputTypeDef) -> list[str]:
    groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
    named = [group["TargetGroupArn"] for group in groups if group.get("Weight", 1) > 0]
    return named or ([action["TargetGroupArn"]] if "TargetGroupArn" in action else [])


def requests_needed(check: HttpCheck, new: int, serving: int) -> int:
    """Return how many right answers in a row say that new instances answer rightly.

    Old and new ones answer behind one load balancer, and nobody can choose which: with a share *s* of new
    ones, a row of *n* right answers misses a wholly wrong version with probability (1 - s)^n.

    :param new: how many new instances serve.
    :param serving: how many instances serve.
    """
    if not 0 < new < serving:
        return check.consecutive
    needed = math.ceil(math.log(MISSED_ONCE_IN) / -math.log1p(-new / serving))
    return min(MOST_REQUESTS, max(check.consecutive, needed))


@dataclass(frozen=True)
class Answers:
    """What a look's requests came to.

    :ivar fault: what is wrong, if more answers were wrong than the check puts up with.
    :ivar missing: what is not known yet, as time was up.
    """

    fault: str | None = None
    missing: str | None = None


def row_of_answers(
    check: HttpCheck, address: Address, wanted: int, between: Callable[[], object] = lambda: None
) -> Answers:
    """Ask until there are enough right answers in a row, each on a connection of its own, or time is up.

    :param wanted: how many right answers in a row.
    :param between: called before each request.
    """
    began = time.monotonic()
    row = wrong = 0
    while row < wanted:
        if time.monotonic() - began > LOOK_SECONDS:
            return Answers(missing=f"{row} of {wanted} right answers in a row within {LOOK_SECONDS:.0f} s")
        between()
        fault = ask(check, address)
        if fault is None:
            row += 1
            continue
        wrong, row = wrong + 1, 0
        if wrong > check.wrong_answers:
            more = f" ({wrong} wrong answers)" if wrong > 1 else ""
            return Answers(fault=f"GET {check.path} at {address} answered {fault}{more}")
    return Answers()


def ask(check: HttpCheck, address: Address) -> str | None:
    """Ask once; returns what is wrong with the answer, None if it is as expected."""
    seconds = check.timeout.total_seconds()
    deadline = time.monotonic() + seconds
    try:
        status, headers, body = _exchange(check, address, deadline)
    except TimeoutError:
        return f"nothing within {seconds:.0f} s"
    except (OSError, http.client.HTTPException) as error:
        return f"nothing: {type(error).__name__}: {error}"
    if status != check.status:
        to = headers.get("Location")
        elsewhere = f" (to {to})" if to and 300 <= status < 400 else ""
        return f"{status}{elsewhere}, expected {check.status}{_beginning(body)}"
    for name, value in check.headers.items():
        if (found := headers.get(name)) != value:
            said = "no such header" if found is None else repr(found)
            return f"{status} with {name}: {said}, expected {value!r}"
    if check.body is not None and check.body not in body:
        return f"{status} without the text {check.body!r} in its body{_beginning(body)}"
    return None


def _beginning(body: str) -> str:
    text = " ".join(body.split())
    return f": {text[:200]}" if text else ""


def _exchange(
    check: HttpCheck, address: Address, deadline: float
) -> tuple[int, http.client.HTTPMessage, str]:
    left = deadline - time.monotonic()
    with socket.create_connection((address.host, address.port), timeout=max(0.001, left)) as plain:
        plain.settimeout(max(0.001, deadline - time.monotonic()))
        context = ssl.create_default_context() if address.encrypted else None
        with context.wrap_socket(plain, server_hostname=address.name) if context else plain as connection:
            port = "" if address.port == (443 if address.encrypted else 80) else f":{address.port}"
            head = (
                f"GET {check.path} HTTP/1.1\r\nHost: {address.name}{port}\r\nUser-Agent: bakeroll-gate\r\n"
                "Accept: */*\r\nConnection: close\r\n\r\n"
            )
            connection.sendall(head.encode("ascii"))
            answer = http.client.HTTPResponse(_Bounded(connection, deadline), method="GET")  # type: ignore[arg-type]
            answer.begin()
            body = answer.read(BODY_BYTES)
            return answer.status, answer.headers, body.decode("utf-8", errors="replace")


class _Bounded(io.RawIOBase):
    """What a socket receives, all of it before one deadline.

    A socket's own timeout begins anew with each byte.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
