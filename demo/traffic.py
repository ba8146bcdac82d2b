"""The demo's requests: a few that ask who serves, and steady load in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from demo import load, services
from demo.http import BrokenConnectionError, Connection
from demo.settings import DemoError, Settings

RATE = 60.0
#: Each on a connection of its own, so that the load balancer takes turns.
PROBES = 20
#: The slowest answer, and time to spare.
LOAD_END_SECONDS = 40.0


@dataclass
class Probes:
    """What the instances said of themselves.

    :param versions: host name -> the versions it answered with.
    """

    answered: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    versions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return len(self.answered) + len(self.failures)


def probe(url: str) -> Probes:
    """Ask through the load balancer who is there.

    :param url: the load balancer's address.
    """
    return asyncio.run(_probe(url))


async def _probe(url: str) -> Probes:
    parts = urlsplit(url)
    found = Probes()
    for _ in range(PROBES):
        request_id = uuid.uuid4().hex
        try:
            connection = await Connection.open(parts.hostname or "", parts.port or 80)
            try:
                async with asyncio.timeout(load.TIMEOUT_SECONDS):
                    answer = await connection.get("/", request_id)
            finally:
                connection.close()
        except (OSError, BrokenConnectionError, TimeoutError) as error:
            found.failures.append(f"{type(error).__name__}: {error}")
            continue
        if answer.status != HTTPStatus.OK:
            found.failures.append(f"status {answer.status}")
            continue
        body = json.loads(answer.body)
        found.answered.add(request_id)
        found.versions[body["hostname"]].add(body["version"])
    return found


class LoadProcess:
    """The load generator, running.

    :param settings: folders and ports.
    :param url: the load balancer's address.
    :param name: what its file is called.
    """

    def __init__(self, settings: Settings, url: str, name: str) -> None:
        self._file = settings.build / "load" / f"{name}.jsonl"
        arguments = ["--url", url, "--rate", str(RATE), "--file", str(self._file)]
        self._service = services.start(
            f"load-{name}", [sys.executable, "-m", "demo.load", *arguments], _plain(), settings.build
        )

    def end(self) -> load.Summary:
        """Stop sending, wait for the open answers, and sum up.

        :raises DemoError: if the load generator itself failed.
        """
        process = self._service.process
        self._service.require_running()
        process.terminate()
        try:
            status = process.wait(timeout=LOAD_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise DemoError("the load generator did not end") from None
        if status:
            raise DemoError(f"the load generator ended with status {status}; see {self._service.log}")
        with self._file.open(encoding="utf-8") as lines:
            return load.summarise(lines)


def _plain() -> dict[str, str]:
    return {"PATH": str(Path(sys.executable).parent), "PYTHONUNBUFFERED": "1"}
