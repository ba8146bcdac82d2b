"""Fluentd's two HTTP endpoints: remote procedure calls, and the monitor agent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from .buffer import FileBuffer
from .output import HttpOutput
from .tail import Tail

Route = Callable[[], dict[str, object]]


def rpc_routes(output: HttpOutput) -> dict[str, Route]:
    """Give the endpoint that `rpc_endpoint` opens; of its calls only the one for flushing.

    Source: https://docs.fluentd.org/deployment/rpc.
    """

    def flush_buffers() -> dict[str, object]:
        output.flush()
        return {"ok": True}

    return {"/api/plugins.flushBuffers": flush_buffers}


def monitor_routes(tail: Tail, buffer: FileBuffer, output: HttpOutput) -> dict[str, Route]:
    """Give the endpoint of in_monitor_agent; of its pages only the metrics of each plugin as JSON.

    Source: https://docs.fluentd.org/monitoring-fluentd/monitoring-rest-api.
    """

    def plugins() -> dict[str, object]:
        return {"plugins": [_monitor_entry(), _tail_entry(tail), _output_entry(tail, buffer, output)]}

    return {"/api/plugins.json": plugins}


def _monitor_entry() -> dict[str, object]:
    return _input_entry("in_monitor_agent", "monitor_agent", 0, 0)


def _tail_entry(tail: Tail) -> dict[str, object]:
    return _input_entry("in_access_log", "tail", tail.emit_records, tail.emit_size)


def _input_entry(plugin_id: str, kind: str, records: int, size: int) -> dict[str, object]:
    return {
        "plugin_id": plugin_id,
        "plugin_category": "input",
        "type": kind,
        "output_plugin": False,
        "retry_count": None,
        "emit_records": records,
        "emit_size": size,
    }


def _output_entry(tail: Tail, buffer: FileBuffer, output: HttpOutput) -> dict[str, object]:
    state = buffer.state()
    return {
        "plugin_id": "out_collector",
        "plugin_category": "output",
        "type": "http",
        "output_plugin": True,
        "buffer_queue_length": state.queue_length,
        "buffer_timekeys": [],
        "buffer_total_queued_size": state.total_queued_size,
        "buffer_stage_length": state.stage_length,
        "buffer_stage_byte_size": state.stage_bytes,
        "buffer_queue_byte_size": state.queue_bytes,
        "retry_count": output.retry_count,
        "emit_records": tail.emit_records,
        "emit_size": tail.emit_size,
        "emit_count": tail.emit_records,
        "rollback_count": output.rollback_count,
        "write_count": output.write_count,
    }


def make_server(address: str, port: int, routes: Mapping[str, Route]) -> ThreadingHTTPServer:
    """Make a server for some GET routes; everything else is not found.

    :raises OSError: if the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # the name the base class calls
            route = routes.get(urlsplit(self.path).path)
            if route is None:
                self._reply(HTTPStatus.NOT_FOUND, {"message": "Not found"})
            else:
                self._reply(HTTPStatus.OK, route())

        def _reply(self, status: HTTPStatus, body: dict[str, object]) -> None:
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Stay silent: polls come twice a second and are not worth a line each."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server((address, port), Handler)
