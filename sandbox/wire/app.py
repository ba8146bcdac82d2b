"""The account's API as a WSGI application: the sandbox's own services first, moto for the rest."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from moto.core.request import Request

from sandbox.faults.layer import Faults
from sandbox.gateway.moto import Moto
from sandbox.model.errors import ServiceError
from sandbox.wire import wsgi
from sandbox.wire.calls import Calls
from sandbox.wire.identify import UnknownServiceError, identify
from sandbox.wire.protocol import Answer, Call, parse, serialize, serialize_error

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Mapping[str, Any] | None]
"""Answers one action: from botocore's input shape to its output shape; raises ServiceError."""

Handlers = Mapping[str, Mapping[str, Handler]]
"""Service, then action, to its handler."""

CLOSED = frozenset({"autoscaling", "service-quotas"})
"""Services of which nothing goes to moto, since it would know nothing of the model's things."""


class AccountApi:
    """A WSGI application that is one AWS account.

    :param lock: the account's lock, held while anything is answered; bodies are read before.
    :param handlers: what the sandbox answers itself. They hold the lock unless named in ``waiting``.
    :param waiting: (service, action) pairs whose handlers take the lock themselves, as they wait.
    :param faults: what each call passes before it is answered.
    """

    def __init__(
        self,
        *,
        lock: AbstractContextManager[Any],
        moto: Moto,
        handlers: Handlers,
        waiting: frozenset[tuple[str, str]] = frozenset(),
        faults: Faults,
    ) -> None:
        self.calls = Calls()
        self._faults = faults
        self._lock = lock
        self._moto = moto
        self._handlers = handlers
        self._waiting = waiting

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer one request.

        :raises NoAnswerError: if a fault wants the connection closed instead.
        """
        request = _read(environ)
        try:
            call = identify(request)
        except UnknownServiceError as error:
            in_xml = (request.content_type or "").startswith("application/x-www-form-urlencoded")
            return _not_there(start_response, str(error), in_xml=in_xml)
        status, headers, body = self._answer(call, request)
        return wsgi.respond(start_response, status, headers.items(), body)

    def _answer(self, call: Call, request: Request) -> Answer:
        try:
            return self._faults.around(
                call.service,
                call.action,
                call.principal,
                lambda: self._counted(call, self._perform(call, request)),
                key=(request.path, request.query_string, request.get_data(cache=True)),
                good=lambda answer: answer[0] < 400,
            )
        except ServiceError as refusal:
            return self._counted(call, _refuse(call, refusal))

    def _counted(self, call: Call, answer: Answer) -> Answer:
        self.calls.add(call, answer[0])
        return answer

    def _perform(self, call: Call, request: Request) -> Answer:
        try:
            handler = self._handlers.get(call.service, {}).get(call.action)
            if handler is not None:
                return self._handle(handler, call, request)
            if call.service in CLOSED:
                raise _not_modelled(call)
            with self._lock:
                return self._moto.forward(request.environ)
        except ServiceError as error:
            return _refuse(call, error)
        except NotImplementedError as error:
            log.info("%s %s is not there: %s", call.service, call.action, error)
            return _refuse(call, _not_modelled(call))
        except Exception as error:
            # A fault of the sandbox is an answer too: AWS's InternalFailure, with the cause in the log.
            log.exception("%s %s failed", call.service, call.action)
            return _refuse(call, ServiceError("InternalFailure", f"{type(error).__name__}: {error}", 500))

    def _handle(self, handler: Handler, call: Call, request: Request) -> Answer:
        params = parse(call.service, call.action, call.protocol, request)
        if (call.service, call.action) in self._waiting:
            return serialize(call, handler(params) or {})
        with self._lock:
            return serialize(call, handler(params) or {})


def _not_modelled(call: Call) -> ServiceError:
    code = "InvalidAction" if call.protocol in {"query", "ec2"} else "UnsupportedOperation"
    return ServiceError(
        code, f"The sandbox does not model the action {call.action or '(none)'} of {call.service}."
    )


def _refuse(call: Call, error: ServiceError) -> Answer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # moto warns of error codes that botocore's model does not list
        return serialize_error(call, error)


def _read(environ: WSGIEnvironment) -> Request:
    """Take in the whole request, so that no lock is held while a client sends."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
        body = environ["wsgi.input"].read()
        environ["CONTENT_LENGTH"] = str(len(body))
        del environ["HTTP_TRANSFER_ENCODING"]
    else:
        body = environ["wsgi.input"].read(length)
    # To be read twice: by the sandbox to see what is called, and by moto.
    request = Request({**environ, "wsgi.input": io.BytesIO(body)})
    request.get_data(cache=True, parse_form_data=False)
    request.environ["wsgi.input"] = io.BytesIO(body)
    return request


def _not_there(start_response: StartResponse, why: str, *, in_xml: bool) -> list[bytes]:
    code = "UnrecognizedClientException"
    if in_xml:
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(why)}.</Message></Error>"
        xml = f"<ErrorResponse>{error}<RequestId>0</RequestId></ErrorResponse>".encode()
        return wsgi.respond(start_response, 400, [("Content-Type", "text/xml")], xml)
    body = json.dumps({"__type": code, "message": f"{why}."}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("X-Amzn-Errortype", code)]
    return wsgi.respond(start_response, 400, headers, body)
