"""A small real HTTP server that answers as a load balancer does: each request from another target."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Page:
    """What is answered."""

    status: int = 200
    body: str = "welcome"
    headers: dict[str, str] = field(default_factory=dict)
    raw: Callable[[BaseHTTPRequestHandler], None] | None = None
    """Answers by itself, where no proper answer is wanted."""


@dataclass
class Application:
    """The server while it runs.

    :ivar pages: what the next requests are answered with, in turns.
    :ivar asked: path and Host header of each request so far.
    """

    port: int = 0
    pages: Callable[[], list[Page]] = lambda: [Page()]
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def application() -> Iterator[Application]:
    """Serve on a free port of 127.0.0.1."""
    made = Application()
    turn = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append((self.path, self.headers["Host"]))
            pages = made.pages()
            page = pages[next(turn) % len(pages)]
            if page.raw:
                page.raw(self)
                return
            body = page.body.encode()
            self.send_response(page.status)
            for name, value in page.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
