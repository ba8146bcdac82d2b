"""One HTTP/1.1 connection that is kept alive, and never tries a request a second time.

The usual clients send a request again, unasked, when a kept connection turns out to be closed. A load
generator that counts broken requests must not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


class BrokenConnectionError(Exception):
    """The other side closed the connection, or spoke no HTTP, before a whole answer had come."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    keep_alive: bool


class Connection:
    """A connection that carries one request at a time.

    :param reader: of an open connection.
    :param writer: of the same connection.
    :param host: for the Host header.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, address: str, port: int) -> Connection:
        """Connect.

        :raises OSError: if nobody listens.
        """
        reader, writer = await asyncio.open_connection(address, port)
        return cls(reader, writer, f"{address}:{port}")

    @property
    def usable(self) -> bool:
        """Tell whether the other side has not closed it: what is known to be closed is not used."""
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def get(self, path: str, request_id: str) -> Answer:
        """Send a request and wait for its whole answer.

        :param path: what to get.
        :param request_id: sent as `X-Request-Id`.
        :raises BrokenConnectionError: if no whole answer comes.
        """
        head = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nX-Request-Id: {request_id}\r\n\r\n"
        try:
            self._writer.write(head.encode("ascii"))
            await self._writer.drain()
            return await self._answer()
        except (
            OSError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
            LookupError,
        ) as error:
            raise BrokenConnectionError(f"{type(error).__name__}: {error}") from error

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        fields = dict(line.lower().split(":", 1) for line in head[1:] if line)
        body = await self._reader.readexactly(int(fields["content-length"]))
        return Answer(status, body, fields.get("connection", "").strip() != "close")

    def close(self) -> None:
        """Close it."""
        self._writer.close()
