"""Allots loopback addresses: each machine and each load balancer has one of its own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from pathlib import Path

SIZE = 256 * 256


class Addresses:
    """One loopback block of the form ``127.<second>.x.y``; an address is used again only after all others.

    :param second: the block's second number.
    :param first: where in the block to begin; two sandboxes that begin apart do not meet.
    :param in_use: returns the addresses that somebody else listens on.
    """

    def __init__(self, second: int, *, first: int = 1, in_use: Callable[[], set[str]] = set) -> None:
        self._second = second
        self._next = first
        self._in_use = in_use
        self._taken: set[str] = set()

    def allot(self) -> str:
        """Take an address that nobody has.

        :raises RuntimeError: if all are taken.
        """
        unavailable = self._taken | self._in_use()
        for _ in range(SIZE):
            number, self._next = self._next, (self._next + 1) % SIZE
            address = f"127.{self._second}.{number // 256}.{number % 256}"
            if number % 256 not in {0, 255} and address not in unavailable:
                self._taken.add(address)
                return address
        message = f"all addresses of 127.{self._second}.0.0/16 are taken"
        raise RuntimeError(message)

    def release(self, address: str) -> None:
        """Give an address back."""
        self._taken.discard(address)


def listening() -> set[str]:
    """Return the IPv4 addresses that something on this host listens on.

    Source: proc(5), /proc/net/tcp: addresses in hexadecimal and host byte order, state 0A listens.
    """
    found = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        if state == "0A":
            found.add(socket.inet_ntoa(struct.pack("=I", int(local.split(":")[0], 16))))
    return found
