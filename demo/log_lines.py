"""Bring in the log lines that living instances still hold, and compare them with the answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass

import requests

from demo.settings import DemoError

#: Fluentd's RPC endpoint on the instances.
RPC_PORT = 24444
FLUSH_TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Comparison:
    """Answered requests against collected log lines.

    :param written: requests that were answered, each of which the application wrote a line for.
    :param collected: lines of those requests that have arrived.
    """

    written: int
    collected: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Tell whether every line arrived exactly once, and nothing else did."""
        return not (self.lost or self.doubled or self.unknown)

    def __str__(self) -> str:
        parts = {"lost": self.lost, "collected twice": self.doubled, "of nobody's request": self.unknown}
        said = [f"{len(ids)} {what} (such as {ids[0]})" for what, ids in parts.items() if ids]
        return f"{self.written} written, {self.collected} collected" + "".join(f"; {each}" for each in said)


def compare(answered: Collection[str], collected: Counter[str]) -> Comparison:
    """Compare by request id, which no two requests share.

    :param answered: ids of the requests that were answered.
    :param collected: how often each id has been collected.
    """
    expected = set(answered)
    return Comparison(
        written=len(expected),
        collected=sum(collected.values()),
        lost=tuple(sorted(expected - collected.keys())),
        doubled=tuple(sorted(each for each, count in collected.items() if count > 1)),
        unknown=tuple(sorted(collected.keys() - expected)),
    )


def bring_in(
    addresses: Collection[str], answered: Collection[str], collected: Callable[[], Counter[str]]
) -> Comparison:
    """Have living instances deliver what they hold until all has arrived or it takes too long.

    :param addresses: private addresses of the instances that are still there.
    :param answered: ids of the requests that were answered.
    :param collected: counts what has arrived until now.
    """
    deadline = time.monotonic() + FLUSH_TIMEOUT_SECONDS
    while True:
        for address in addresses:
            _flush(address)
        found = compare(answered, collected())
        if not found.lost or time.monotonic() > deadline:
            return found
        time.sleep(POLL_SECONDS)


def _flush(address: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://{address}:{RPC_PORT}/api/plugins.flushBuffers", timeout=10)
    if not answer.ok:
        raise DemoError(
            f"the log forwarder of {address} refused to flush: {answer.status_code} {answer.text}"
        )
