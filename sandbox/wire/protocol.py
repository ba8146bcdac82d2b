"""Reads requests and writes answers by botocore's own service models: every AWS client understands them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.serialize import get_serializer_class
from moto.core.utils import get_service_model

from sandbox.model.errors import ServiceError

Answer = tuple[int, Mapping[str, str], bytes]
"""HTTP status, headers and body."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One API call: which action of which service, by whom, with what.

    ``service`` is botocore's name of it. ``principal`` is the access key id. ``tool`` is what the caller says
    it is: ``packer``, ``terraform``, ``boto3``.
    """

    service: str
    action: str
    principal: str
    protocol: str
    tool: str = "unknown"
    params: Mapping[str, Any] = field(default_factory=dict)


@cache
def service_model(service: str) -> ServiceModel:
    """Return botocore's model of a service."""
    return get_service_model(service)


@cache
def operation_model(service: str, action: str) -> OperationModel:
    """Return botocore's model of an action.

    :raises ServiceError: InvalidAction, if the service has no such action.
    """
    model = service_model(service)
    if action not in model.operation_names:
        code = (
            "InvalidAction" if model.metadata["protocol"] in {"query", "ec2"} else "UnknownOperationException"
        )
        message = f"The action {action} is not valid for this web service."
        raise ServiceError(code, message)
    return model.operation_model(action)


def protocol_of(service: str, request: Request) -> str:
    """Tell in which of its protocols a request to the service is written."""
    return str(determine_request_protocol(service_model(service), request.content_type))


def parse(service: str, action: str, protocol: str, request: Request) -> dict[str, Any]:
    """Read a request's parameters, as a plain dictionary of botocore's input shape."""
    parser = PROTOCOL_PARSERS[protocol](operation_model(service, action))
    parsed: dict[str, Any] = parser.parse(
        {
            "method": request.method,
            "values": request.values,
            "headers": request.headers,
            "body": request.get_data(),
            "url_path": request.path,
            "url_params": {},
        }
    )
    return parsed


def serialize(call: Call, result: Mapping[str, Any]) -> Answer:
    """Write an answer of botocore's output shape."""
    return _serialize(call, operation_model(call.service, call.action), result)


def serialize_error(call: Call, error: ServiceError) -> Answer:
    """Write a refusal in the service's own error shape."""
    model = service_model(call.service)
    operation = (
        model.operation_model(call.action)
        if call.action in model.operation_names
        else OperationModel({"name": call.action}, model)
    )
    _, headers, body = _serialize(call, operation, _RefusalError(error))
    return error.http_status, headers, body


class _RefusalError(Exception):
    """An error in the form that moto's serialisers read: ``code`` and ``message``."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.message = error.message
        self.sender_fault = error.http_status < 500


def _serialize(call: Call, operation: OperationModel, result: object) -> Answer:
    serializer = get_serializer_class(call.service, call.protocol)(operation_model=operation)
    answer = serializer.serialize(result)
    body = answer["body"]
    headers = {str(name): str(value) for name, value in answer["headers"].items()}
    return int(answer["status_code"]), headers, body.encode() if isinstance(body, str) else bytes(body)
