"""Fluentd's two endpoints on loopback ports, with a buffer that the test decides about."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeFluentd:
    """Holds chunks until it was flushed often enough."""

    def __init__(self, *, queue_length: int, queued_bytes: int, flushes_needed: int = 1) -> None:
        self.queue_length = queue_length
        self.queued_bytes = queued_bytes
        self.flushes_needed = flushes_needed
        self.flushes = 0
        self.calls: list[str] = []
        self.broken_monitor = False
        self.tells_records = True
        self.hangs = threading.Event()
        """Until it is set, calls get no answer; set from the beginning."""
        self.hangs.set()
        self.endpoint = ""

    def answer(self, path: str) -> Any:
        self.calls.append(path)
        self.hangs.wait()
        if path == "/api/plugins.flushBuffers":
            self.flushes += 1
            if self.flushes >= self.flushes_needed:
                self.queue_length = self.queued_bytes = 0
            return {"ok": True}
        if path == "/api/plugins.json" and not self.broken_monitor:
            return {"plugins": self._plugins()}
        return None

    def _plugins(self) -> list[dict[str, Any]]:
        records = {"emit_records": 40} if self.tells_records else {}
        return [
            {
                "plugin_id": "in",
                "plugin_category": "input",
                "type": "tail",
                "config": {"@type": "tail"},
                **({"emit_records": 41} if self.tells_records else {}),
            },
            {
                "plugin_id": "stdout",
                "plugin_category": "output",
                "type": "stdout",
                "buffer_queue_length": None,
                **({"emit_records": 2} if self.tells_records else {}),
            },
            {
                "plugin_id": "out",
                "plugin_category": "output",
                "type": "http",
                # A configuration that quotes the very keys the script looks for.
                "config": {
                    "tag": '"buffer_queue_length": 7, "emit_records": 7',
                    "password": "s3cret-in-config",
                },
                "buffer_queue_length": self.queue_length,
                "buffer_total_queued_size": self.queued_bytes,
                **records,
            },
        ]


@contextmanager
def serving(fluentd: FakeFluentd) -> Iterator[FakeFluentd]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = fluentd.answer(self.path)
            body = json.dumps(found, indent=1).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Length", str(len(body)))
            with suppress(BrokenPipeError):  # the script has given this call up
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    fluentd.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fluentd
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
