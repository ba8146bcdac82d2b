"""The load generator against small servers that behave and misbehave."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from demo import load

pytestmark = [pytest.mark.anyio, pytest.mark.alone]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.close()


async def read_head(reader: asyncio.StreamReader) -> tuple[str, str]:
    """Give path and request id of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    return head[0].split(" ")[1], fields["X-Request-Id"]


def answer(request_id: str, status: int = 200, connection: str = "keep-alive") -> bytes:
    body = json.dumps({"version": "1", "hostname": "ip-127-0-0-9", "request_id": request_id}).encode()
    head = f"HTTP/1.1 {status} Word\r\nContent-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    return head.encode() + body


async def send(url: str, count: int, rate: float = 500.0) -> list[dict[str, object]]:
    """Send until a number of requests has been answered one way or the other."""
    record = io.StringIO()
    stop = asyncio.Event()
    running = asyncio.create_task(load.Load(url, rate, record).run(stop))
    async with asyncio.timeout(20):
        while record.getvalue().count("\n") < count and not running.done():  # noqa: ASYNC110 - a file gives no event
            await asyncio.sleep(0.005)
        stop.set()
        await running
    return [json.loads(line) for line in record.getvalue().splitlines()]


async def test_requests_share_connections_and_each_has_its_own_id() -> None:
    connections = 0
    seen: list[tuple[str, str]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                path, request_id = await read_head(reader)
                seen.append((path, request_id))
                writer.write(answer(request_id))
        except asyncio.IncompleteReadError:
            writer.close()

    async with serving(handle) as url:
        outcomes = await send(url, 200)
    assert [each["error"] for each in outcomes] == [None] * len(outcomes)
    assert len({request_id for _, request_id in seen}) == len(seen) == len(outcomes)
    assert connections < len(seen) / 4
    slow = sum(path == "/slow" for path, _ in seen)
    assert slow == len(seen) // load.SLOW_EVERY


async def test_a_connection_that_breaks_is_counted_and_not_sent_again() -> None:
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, request_id = await read_head(reader)
        seen.append(request_id)
        writer.write(answer(request_id)[:20])
        writer.close()

    async with serving(handle) as url:
        outcomes = await send(url, 10)
    assert len(seen) == len(set(seen)) == len(outcomes)
    assert all("IncompleteReadError" in str(each["error"]) for each in outcomes)


async def test_a_refused_connection_is_counted() -> None:
    async with serving(lambda *_: asyncio.sleep(0)) as url:
        pass
    outcomes = await send(url, 3)
    assert all("ConnectionRefusedError" in str(each["error"]) for each in outcomes)


@pytest.mark.parametrize("status", [404, 502, 503])
async def test_a_wrong_status_is_counted(status: int) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, request_id = await read_head(reader)
        writer.write(answer(request_id, status, "close"))
        writer.close()

    async with serving(handle) as url:
        outcomes = await send(url, 3)
    assert {each["error"] for each in outcomes} == {f"status {status}"}


async def test_the_answer_to_another_request_is_counted() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer("somebody else's", connection="close"))
        writer.close()

    async with serving(handle) as url:
        outcomes = await send(url, 3)
    assert {each["error"] for each in outcomes} == {"the answer belongs to another request"}


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, request_id = await read_head(reader)
        writer.write(answer(request_id))  # says keep-alive, and closes all the same
        writer.close()

    async with serving(handle) as url:
        outcomes = await send(url, 20, rate=40.0)
    assert [each["error"] for each in outcomes] == [None] * len(outcomes)


async def test_open_requests_are_waited_for_at_the_end() -> None:
    release = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, request_id = await read_head(reader)
        await release.wait()
        writer.write(answer(request_id, connection="close"))
        writer.close()

    record = io.StringIO()
    stop = asyncio.Event()
    async with serving(handle) as url:
        running = asyncio.create_task(load.Load(url, 200.0, record).run(stop))
        await asyncio.sleep(0.05)
        stop.set()
        release.set()
        await running
    outcomes = [json.loads(line) for line in record.getvalue().splitlines()]
    assert len(outcomes) >= 5
    assert all(each["error"] is None for each in outcomes)


def test_a_summary_tells_failures_from_answers() -> None:
    fine = load.Outcome("a", "/", 200, "2", "ip-127-0-0-9", 1.0, None)
    broken = load.Outcome("b", "/slow", 502, None, None, 1.0, "status 502")
    summary = load.summarise(json.dumps(vars(each)) for each in (fine, broken))
    assert summary.sent == 2
    assert summary.answered == {"a"}
    assert summary.errors == ("/slow: status 502",)
    assert summary.versions == {"2"}
