"""Requests and responses of HTTP/1.1, as much of it as a load balancer and its health checks speak."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

MAX_BODY_BYTES = 1024 * 1024


class BadRequestError(Exception):
    """The client sent something that is no request; its text is the answer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, its body already read and dropped."""

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    keep_alive: bool = True

    @property
    def request_id(self) -> str | None:
        """The id the client gave: header ``X-Request-Id``, else query parameter ``id``."""
        return self.headers.get("x-request-id") or next(iter(self.query.get("id", [])), None)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read the next request of a connection.

    :return: the request, or nothing if the client closed the connection.
    :raises BadRequestError: if it is no HTTP/1.0 or HTTP/1.1 request, or its body is too large or chunked.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise BadRequestError("the request's head is too large") from error
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    request, body_bytes = _parse(head.decode("latin-1"))
    try:
        await reader.readexactly(body_bytes)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return request


def _parse(head: str) -> tuple[Request, int]:
    first, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or parts[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise BadRequestError("this is no HTTP/1.1 request")
    headers: dict[str, str] = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise BadRequestError("a body needs a Content-Length here")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise BadRequestError(f"the Content-Length must be a number up to {MAX_BODY_BYTES}")
    connection = headers.get("connection", "").lower()
    keep_alive = connection != "close" if parts[2] == "HTTP/1.1" else connection == "keep-alive"
    target = urlsplit(parts[1])
    request = Request(
        method=parts[0],
        path=target.path,
        query=parse_qs(target.query),
        headers=headers,
        keep_alive=keep_alive,
    )
    return request, int(length)


def response(status: HTTPStatus, body: dict[str, object], *, keep_alive: bool, head_only: bool) -> bytes:
    """Put a JSON response on the wire.

    :param keep_alive: whether the connection stays open after it.
    :param head_only: leave out the body, as a HEAD request wants.
    """
    payload = json.dumps(body).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else payload)
