"""Where the demo's log lines arrive: HTTP POSTs of newline-delimited JSON, appended to one file.

`python -m demo.collector --port 8399 --file build/collector/lines.jsonl`
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from demo.settings import HOST, DemoError

#: More than a forwarder sends in one chunk; a larger body is a mistake.
BODY_LIMIT_BYTES = 64 * 2**20


class Lines:
    """The file of collected lines.

    :param file: made if it is not there.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._guard = threading.Lock()

    def append(self, body: bytes) -> None:
        """Keep a chunk of lines, all of them or none.

        :param body: JSON objects, one a line.
        :raises ValueError: if a line is not a JSON object; nothing is kept then.
        """
        lines = [line for line in body.split(b"\n") if line.strip()]
        for line in lines:
            if not isinstance(json.loads(line), dict):
                raise ValueError(f"a line is not a JSON object: {line[:80]!r}")
        with self._guard:
            left = b"".join(line + b"\n" for line in lines)
            while left:
                left = left[os.write(self._descriptor, left) :]


def server(port: int, lines: Lines) -> ThreadingHTTPServer:
    """Make the collector's server; it listens when this returns.

    :param port: on 127.0.0.1; 0 lets the system choose.
    :param lines: where to keep what comes.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", -1))
            if not 0 <= length <= BODY_LIMIT_BYTES:
                self.close_connection = True
                self._answer(HTTPStatus.LENGTH_REQUIRED, "a Content-Length is needed\n")
                return
            body = self.rfile.read(length)
            if len(body) < length:
                self.close_connection = True  # the sender died in the middle: it still has these lines
                return
            try:
                lines.append(body)
            except ValueError as error:
                self._answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
            else:
                self._answer(HTTPStatus.OK, "")

        def _answer(self, status: HTTPStatus, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing of every request."""

    return ThreadingHTTPServer((HOST, port), Handler)


def request_ids(file: Path) -> Counter[str]:
    """Count how often each request id was collected.

    :param file: the collector's file.
    :raises DemoError: if a line has no request id.
    """
    counts: Counter[str] = Counter()
    if not file.exists():
        return counts
    with file.open(encoding="utf-8") as stream:
        for line in stream:
            if not line.endswith("\n"):
                break  # it is being written in this moment
            record = json.loads(line)
            if "request_id" not in record:
                raise DemoError(f"a collected log line has no request_id: {line.strip()}")
            counts[record["request_id"]] += 1
    return counts


def main() -> int:
    """Collect until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m demo.collector", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--file", type=Path, required=True)
    arguments = parser.parse_args()
    with server(arguments.port, Lines(arguments.file)) as collector:
        # shutdown() waits for the loop that this signal has interrupted
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=collector.shutdown).start())
        collector.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
