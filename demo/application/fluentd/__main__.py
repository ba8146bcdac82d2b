"""Start the forwarder: ``python -m fluentd``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from .api import make_server, monitor_routes, rpc_routes
from .buffer import FileBuffer
from .output import HttpOutput
from .settings import Settings, SettingsError, from_environment
from .tail import PosFile, Tail


def main() -> int:
    """Forward until SIGTERM or SIGINT; SIGUSR1 flushes, as Fluentd's does.

    :return: the exit status.
    """
    try:
        settings = from_environment(os.environ)
    except SettingsError as error:
        print(f"fluentd: {error}", file=sys.stderr)
        return 2
    if not settings.collector_url.startswith(("http://", "https://")):
        print(f"fluentd: the collector {settings.collector_url!r} is no HTTP address", file=sys.stderr)
        return 2
    return _forward(settings)


def _forward(settings: Settings) -> int:
    buffer = FileBuffer(settings.buffer_path, settings.chunk_limit_bytes)
    output = HttpOutput(buffer, settings)

    def emit(lines: bytes) -> None:
        if buffer.append(lines):
            output.wake()

    tail = Tail(settings.tail_path, PosFile(settings.pos_file), emit)
    stop = threading.Event()

    def told_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told_to_stop)
    signal.signal(signal.SIGINT, told_to_stop)
    signal.signal(signal.SIGUSR1, lambda _number, _frame: output.flush())
    servers = [
        make_server(settings.address, settings.rpc_port, rpc_routes(output)),
        make_server(settings.address, settings.monitor_port, monitor_routes(tail, buffer, output)),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    sender = threading.Thread(target=output.run, name="output")
    sender.start()
    print(f"fluentd: forwards {settings.tail_path} to {settings.collector_url}", flush=True)
    try:
        while not stop.wait(settings.refresh_interval_seconds):
            tail.poll()
        # What was logged up to now goes into the buffer, which stays on disk: the next start sends it.
        tail.poll()
    finally:
        tail.close()
        output.stop()
        sender.join()
        for server in servers:
            server.shutdown()
            server.server_close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
