"""The server: keeps connections alive, logs what it answers, and finishes what is open when told to stop."""

from __future__ import annotations

import asyncio
import socket
import time
import uuid
from collections.abc import Collection
from http import HTTPStatus

from itsdangerous import Signer

from .access_log import AccessLog
from .messages import BadRequestError, Request, read_request, response

SLOW_SECONDS = 3.0


class WebServer:
    """Answers ``/`` at once, ``/slow`` after three seconds, and ``/health`` for the load balancer.

    :param version: told in every answer.
    :param session_secret: signs the request id, so that an answer can be told from a forged one.
    :param access_log: gets one line for every answered request but health checks.
    :param faults: what answers 500 in this version: ``pages``, ``health`` or both.
    """

    def __init__(
        self,
        *,
        version: str,
        session_secret: str,
        access_log: AccessLog,
        faults: Collection[str] = (),
    ) -> None:
        self._version = version
        self._faults = frozenset(faults)
        self._signer = Signer(session_secret, salt="web.request")
        self._access_log = access_log
        self._hostname = socket.gethostname()
        self._stopping = False
        self._open: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.StreamWriter] = set()

    async def serve(self, address: str, port: int, stop: asyncio.Event) -> None:
        """Serve until told to stop, then until every request that was open is answered.

        :param address: the address to listen on; never every interface.
        :param stop: set it to stop.
        :raises OSError: if the address cannot be listened on.
        """
        server = await asyncio.start_server(self._connected, address, port, backlog=1024)
        await stop.wait()
        self._stopping = True
        server.close()
        for writer in list(self._idle):
            writer.close()
        if self._open:
            await asyncio.wait(self._open)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:  # cannot be: asyncio runs this as a task
            raise RuntimeError("a connection was handled outside a task")
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except ConnectionError:
            return  # the client is gone; there is nobody left to answer
        finally:
            writer.close()
            self._open.discard(task)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._stopping:  # accepted in the moment before the socket was closed
            return False
        self._idle.add(writer)
        try:
            request = await read_request(reader)
        except BadRequestError as error:
            refusal: dict[str, object] = {"error": str(error)}
            writer.write(response(HTTPStatus.BAD_REQUEST, refusal, keep_alive=False, head_only=False))
            await writer.drain()
            return False
        finally:
            self._idle.discard(writer)
        if request is None:
            return False
        started = time.monotonic()
        status, body = await self._answer(request)
        keep_alive = request.keep_alive and not self._stopping
        if request.path != "/health":
            self._log(request, status, body, time.monotonic() - started)
        writer.write(response(status, body, keep_alive=keep_alive, head_only=request.method == "HEAD"))
        await writer.drain()
        return keep_alive

    async def _answer(self, request: Request) -> tuple[HTTPStatus, dict[str, object]]:
        fault = "health" if request.path == "/health" else "pages"
        if fault in self._faults:
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"the {fault} of version {self._version} fail"}
        if request.path == "/health":
            return HTTPStatus.OK, {"status": "ok", "version": self._version}
        if request.path not in {"/", "/slow"}:
            return HTTPStatus.NOT_FOUND, {"error": f"there is no {request.path} here"}
        if request.path == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        request_id = request.request_id or uuid.uuid4().hex
        return HTTPStatus.OK, {
            "version": self._version,
            "hostname": self._hostname,
            "request_id": request_id,
            "signature": self._signer.get_signature(request_id).decode(),
        }

    def _log(
        self, request: Request, status: HTTPStatus, body: dict[str, object], duration_seconds: float
    ) -> None:
        self._access_log.write(
            {
                "time": time.time(),
                "request_id": body.get("request_id", request.request_id),
                "method": request.method,
                "path": request.path,
                "status": status.value,
                "duration_seconds": round(duration_seconds, 6),
                "version": self._version,
                "hostname": self._hostname,
            }
        )
