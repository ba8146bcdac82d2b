"""The control path ``/_sandbox/``: what there is, who called what, and the faults. JSON in, JSON out.

It is no part of AWS: an underscore begins the name of no bucket, so no request to S3 looks like it. Only this
machine reaches it: the server listens on a loopback address, a name that somebody else's DNS gives that
address is refused, and so is what a web page could make a browser send.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sandbox.faults.errors import FaultSettingError
from sandbox.faults.layer import Faults
from sandbox.wire.wsgi import respond

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATH = "/_sandbox/"
FAULTS = "faults"
_LARGEST_BODY_BYTES = 64 * 1024


class ControlError(Exception):
    """A request to the control path is refused; the text is one line.

    :param status: HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Control:
    """A WSGI application for what is under the control path.

    :param faults: what can be set.
    :param views: what can be looked at, by name.
    """

    def __init__(self, faults: Faults, views: Mapping[str, Callable[[], Any]]) -> None:
        self._faults = faults
        self._views = views

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer one request."""
        try:
            _require_this_machine(environ)
            status, value = 200, self._answer(environ)
        except ControlError as error:
            status, value = error.status, {"error": str(error)}
        except FaultSettingError as error:
            status, value = 400, {"error": str(error)}
        body = json.dumps(value, indent=1).encode()
        return respond(start_response, status, [("Content-Type", "application/json")], body)

    def _answer(self, environ: WSGIEnvironment) -> Any:
        method, what = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix(PATH)
        name, _, rest = what.partition("/")
        if name == FAULTS:
            return self._about_faults(method, rest, environ)
        if what not in self._views:
            names = ", ".join(sorted({FAULTS, *self._views}))
            raise ControlError(404, f"there is no {PATH}{what}; there are {names}")
        if method != "GET":
            raise ControlError(405, f"{PATH}{what} can only be read")
        return self._views[what]()

    def _about_faults(self, method: str, number: str, environ: WSGIEnvironment) -> Any:
        if method == "GET" and not number:
            return self._faults.list()
        if method == "POST" and not number:
            return {"id": self._faults.set(_setting(environ))}
        if method == "DELETE":
            if number and not number.isdigit():
                raise ControlError(404, f"there is no fault {number}; their ids are numbers")
            self._faults.clear(int(number) if number else None)
            return {}
        raise ControlError(405, f"{PATH}{FAULTS} takes GET, POST and DELETE, {PATH}{FAULTS}/<id> only DELETE")


def _setting(environ: WSGIEnvironment) -> Mapping[str, Any]:
    if not (environ.get("CONTENT_TYPE") or "").startswith("application/json"):
        raise ControlError(415, "a fault is set with a JSON object, sent as application/json")
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _LARGEST_BODY_BYTES:
        raise ControlError(413, f"a fault setting has at most {_LARGEST_BODY_BYTES} bytes")
    try:
        setting = json.loads(environ["wsgi.input"].read(length))
    except ValueError as error:
        raise ControlError(400, f"the fault setting is no JSON: {error}") from None
    if not isinstance(setting, dict):
        raise ControlError(400, "the fault setting is no JSON object")
    return setting


def _require_this_machine(environ: WSGIEnvironment) -> None:
    caller = str(environ.get("REMOTE_ADDR") or "")
    host = str(environ.get("HTTP_HOST") or "").rpartition(":")[0]
    if not caller.startswith("127.") or not (host == "localhost" or host.startswith("127.")):
        raise ControlError(403, f"{PATH} is for this machine alone, by a loopback address or as localhost")
    if "HTTP_ORIGIN" in environ:
        raise ControlError(403, f"{PATH} is not for web pages")
