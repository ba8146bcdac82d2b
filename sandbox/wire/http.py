"""HTTP on a loopback port: the account's API, and beside it the control path that no AWS service uses."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import BaseWSGIServer, make_server

from sandbox.faults.errors import NoAnswerError
from sandbox.settings import HOST
from sandbox.wire.control import PATH, Control

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class PortTakenError(Exception):
    """Something else listens on the port; the text is one line with the next step."""


class Front:
    """The WSGI application behind the port.

    :param api: the account's.
    :param control: gets what is under the control path.
    """

    def __init__(self, api: WSGIApplication, control: Control) -> None:
        self._api = api
        self._control = control

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """Answer one request, or close its connection if a fault wants that."""
        if environ.get("PATH_INFO", "").startswith(PATH):
            return self._control(environ, start_response)
        try:
            return self._api(environ, start_response)
        except NoAnswerError:
            _hang_up(environ)
            raise


class _RequestHandler(MotoRequestHandler):  # type: ignore[misc]  # moto's types are not looked at
    """Keeps connections open between requests, and writes no line for each request."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Write nothing: calls are counted instead."""


def listen(port: int, app: WSGIApplication) -> BaseWSGIServer:
    """Bind a port of the loopback address.

    :param port: 0 takes any free one.
    :raises PortTakenError: if it is taken.
    """
    # werkzeug ends the process itself if it cannot bind, so that is tried before.
    try:
        return make_server(HOST, port, app, threaded=True, request_handler=_RequestHandler)
    except (OSError, SystemExit) as error:
        if isinstance(error, OSError) and error.errno != errno.EADDRINUSE:
            raise
        message = f"port {port} is taken; set BAKEROLL_SANDBOX_PORT to another one"
        raise PortTakenError(message) from error


def _hang_up(environ: WSGIEnvironment) -> None:
    """Close the connection without an answer, as a network does that fails in the middle of a call."""
    connection: socket.socket = environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    message = "a fault setting closed the connection"
    raise ConnectionAbortedError(message)  # werkzeug takes this for a client that went away
