"""Start the web application: ``python -m web``."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from .access_log import AccessLog
from .server import WebServer

ROOT = Path(__file__).resolve().parent.parent


def main(argv: Sequence[str]) -> int:
    """Serve until SIGTERM or SIGINT.

    :return: the exit status.
    """
    parser = argparse.ArgumentParser(prog="web", description=__doc__)
    # On a machine that has just one address, as behind a load balancer, its hostname resolves to it.
    parser.add_argument("--address", default=None, help="default: what this machine's hostname resolves to")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--access-log", type=Path, default=Path("/var/log/web/access.log"))
    options = parser.parse_args(argv)
    secret = os.environ.get("WEB_SESSION_SECRET", "")
    if not secret:
        print("web: the environment variable WEB_SESSION_SECRET is missing", file=sys.stderr)
        return 2
    version = (ROOT / "VERSION").read_text().strip()
    faults = set((ROOT / "FAULTS").read_text().split()) if (ROOT / "FAULTS").exists() else set()
    address = options.address or socket.gethostbyname(socket.gethostname())
    access_log = AccessLog(options.access_log)
    server = WebServer(version=version, session_secret=secret, access_log=access_log, faults=faults)
    print(f"web: version {version} listens on {address}:{options.port}", flush=True)
    asyncio.run(_serve(server, address, options.port))
    access_log.close()
    return 0


async def _serve(server: WebServer, address: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await server.serve(address, port, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
