"""Steady load on kept-alive connections, in a process of its own.

`python -m demo.load --url http://127.0.0.9/ --rate 60 --file build/load/run-2.jsonl`

It sends until SIGTERM, waits for the answers still open, and has then written one JSON line for every
request: its id, path, status (null without a whole answer), the version and host that answered,
milliseconds, and error.
Requests start by the clock, whatever the answers do; none is ever sent twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from demo.http import BrokenConnectionError, Connection

#: One request in this many is a slow one.
SLOW_EVERY = 20
#: A slow request takes 3 s; one that takes this long has failed.
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Outcome:
    """What became of one request; `error` is None if it was answered as it should."""

    request_id: str
    path: str
    status: int | None
    version: str | None
    hostname: str | None
    milliseconds: float
    error: str | None


class Load:
    """Sends requests at a steady rate and records each outcome.

    :param url: the load balancer, `http://address[:port]/`.
    :param rate: requests a second.
    :param record: gets a JSON line for each outcome.
    """

    def __init__(self, url: str, rate: float, record: TextIO) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or ""
        self._port = parts.port or 80
        self._interval_seconds = 1.0 / rate
        self._record = record
        self._idle: list[Connection] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop, then wait for the answers that are still open.

        :param stop: set it to stop.
        """
        open_requests: set[asyncio.Task[None]] = set()
        started = time.monotonic()
        number = 0
        while not stop.is_set():
            number += 1
            path = "/slow" if number % SLOW_EVERY == 0 else "/"
            task = asyncio.create_task(self._request(path))
            open_requests.add(task)
            task.add_done_callback(open_requests.discard)
            wait_seconds = started + number * self._interval_seconds - time.monotonic()
            await asyncio.sleep(max(0.0, wait_seconds))
        if open_requests:
            await asyncio.gather(*open_requests)
        for connection in self._idle:
            connection.close()

    async def _request(self, path: str) -> None:
        request_id = uuid.uuid4().hex
        started = time.monotonic()
        status = version = hostname = error = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                answer_status, body = await self._exchange(path, request_id)
            status, error = answer_status, _judge(answer_status, body, request_id)
            if error is None:
                version, hostname = body.get("version"), body.get("hostname")
        except (OSError, BrokenConnectionError, TimeoutError) as reason:
            error = f"{type(reason).__name__}: {reason}"
        milliseconds = round((time.monotonic() - started) * 1000, 1)
        outcome = Outcome(request_id, path, status, version, hostname, milliseconds, error)
        self._record.write(json.dumps(asdict(outcome)) + "\n")

    async def _exchange(self, path: str, request_id: str) -> tuple[int, dict[str, str]]:
        connection = await self._connection()
        try:
            answer = await connection.get(path, request_id)
        except BaseException:
            connection.close()
            raise
        if answer.keep_alive:
            self._idle.append(connection)
        else:
            connection.close()
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = {}
        return answer.status, body if isinstance(body, dict) else {}

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        return await Connection.open(self._address, self._port)


def _judge(status: int, body: dict[str, str], request_id: str) -> str | None:
    if status != HTTPStatus.OK:
        return f"status {status}"
    if body.get("request_id") != request_id:
        return "the answer belongs to another request"
    return None


@dataclass(frozen=True)
class Summary:
    """What a load run came to."""

    sent: int
    answered: frozenset[str]
    errors: tuple[str, ...]
    versions: frozenset[str]


def summarise(lines: Iterable[str]) -> Summary:
    """Sum up a file of outcomes.

    :param lines: as the load generator wrote them.
    """
    outcomes = [json.loads(line) for line in lines]
    return Summary(
        sent=len(outcomes),
        answered=frozenset(each["request_id"] for each in outcomes if each["error"] is None),
        errors=tuple(f"{each['path']}: {each['error']}" for each in outcomes if each["error"] is not None),
        versions=frozenset(each["version"] for each in outcomes if each["version"] is not None),
    )


async def _main(url: str, rate: float, file: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", buffering=1) as record:
        await Load(url, rate, record).run(stop)


def main() -> int:
    """Send load until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m demo.load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.url, arguments.rate, arguments.file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
