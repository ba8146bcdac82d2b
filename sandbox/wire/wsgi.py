"""Calls a WSGI application without a socket, and lets boto3 clients do so."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from moto.core.request import Request

from sandbox.faults.errors import NoAnswerError
from sandbox.wire.silence import no_answer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def call(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[int, dict[str, str], bytes]:
    """Send one request to an application and return status, headers and body."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str, headers: list[tuple[str, str]], _exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _data: None

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    return int(status.split(" ", 1)[0]), dict(headers), body


def respond(
    start_response: StartResponse, status: int, headers: Collection[tuple[str, str]], body: bytes
) -> list[bytes]:
    """Answer a WSGI request with a complete body; an empty one keeps its length, as HEAD's answer needs."""
    given = {name.lower(): value for name, value in headers}
    length = str(len(body)) if body else given.get("content-length", "0")
    kept = [(name, value) for name, value in headers if name.lower() not in {"content-length", "connection"}]
    start_response(f"{status} {'OK' if status < 400 else 'Error'}", [*kept, ("Content-Length", length)])
    return [body]


def attach(client: Any, app: WSGIApplication) -> None:
    """Make a boto3 client send its requests to an application in this process.

    :param client: any boto3 client; it signs, serialises and parses as ever, only the socket is left out.
    """

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        body = request.body
        if body is not None and hasattr(body, "read"):
            body = body.read()
        environ = Request.from_primitives(request.method, request.url, request.headers, body).environ
        try:
            status, headers, answer = call(app, environ)
        except NoAnswerError as fault:
            raise no_answer(fault, request.url, client.meta.config.read_timeout) from fault
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Body(answer))

    client.meta.events.register("before-send", send)


class _Body(io.BytesIO):
    """A response body in the form that botocore reads: as urllib3's."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        while chunk := self.read():
            yield chunk
