"""A client of boto3's shape without a wire: parameters are checked as boto3 does, then the model is called.

What botocore itself does with a call is botocore's here too: operation names, the service model, the
validator and its ParamValidationError, paginators, and ClientError with the code that the service gave.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError, OperationNotPageableError, ParamValidationError
from botocore.model import OperationModel, ServiceModel
from botocore.paginate import Paginator, PaginatorModel
from botocore.validate import ParamValidator

from sandbox.direct.retries import Retries
from sandbox.faults.errors import NoAnswerError
from sandbox.faults.layer import Faults
from sandbox.model.errors import ServiceError
from sandbox.wire.silence import no_answer

Params = dict[str, Any]
Key = tuple[tuple[str, type, Hashable], ...]
Answer = dict[str, Any]
Handler = Callable[[Params], Mapping[str, Any] | None]


class Call(NamedTuple):
    """One call as it leaves a client, its parameters checked."""

    service: str
    operation: str
    params: Params
    principal: str
    key: Key
    """Its parameters: those of the same question are equal."""


Around = Callable[[Call, Callable[[], Answer]], Answer]
"""Called with each try of a call and with what performs it: may look before and after, or break off."""

Answered = Callable[[Call, Answer], object]
"""Told of each answer that a caller gets, also of one from the past."""

READ_TIMEOUT_SECONDS = 60.0
"""botocore's own."""

MOST_KNOWN = 10_000
_VALID: set[tuple[str, str, Key]] = set()
"""Calls whose parameters are known to be good."""


def straight(_call: Call, perform: Callable[[], Answer]) -> Answer:
    """Perform a call and do nothing else."""
    return perform()


def unheard(_call: Call, _answer: Answer) -> None:
    """Do nothing with an answer."""


@dataclass(frozen=True)
class Meta:
    """What a boto3 client tells of itself."""

    region_name: str
    service_model: ServiceModel


class DirectClient:
    """One service's client.

    :param service: boto3's name of it.
    :param handlers: by operation.
    :param principal: who calls.
    :param region: whose endpoint it calls.
    :param faults: what each try of a call passes.
    :param retries: tries again as botocore does.
    :param around: sees each try of a call.
    :param answered: is told of each answer.
    """

    def __init__(
        self,
        service: str,
        handlers: Mapping[str, Handler],
        principal: str,
        *,
        region: str,
        faults: Faults,
        retries: Retries,
        around: Around = straight,
        answered: Answered = unheard,
    ) -> None:
        self._service = service
        self._handlers = handlers
        self._principal = principal
        self._faults = faults
        self._retries = retries
        self._around = around
        self._answered = answered
        self.meta = Meta(region, _session().get_service_model(service))

    def __getattr__(self, name: str) -> Callable[..., Answer]:
        """Return the method of an operation, as boto3 names it."""
        operation = operations(self._service).get(name)
        if operation is None:
            raise AttributeError(f"{self._service} has no operation {name}")
        method = partial(self._call, operation)
        self.__dict__[name] = method
        return method

    def get_paginator(self, name: str) -> Paginator[Answer]:
        """Return botocore's own paginator of an operation."""
        operation = operations(self._service)[name]
        config = _paginators(self._service).get(operation.name)
        if config is None:
            raise OperationNotPageableError(operation_name=name)
        return Paginator(getattr(self, name), config, operation)

    def _call(self, operation: OperationModel, **params: Any) -> Answer:
        call = Call(self._service, operation.name, params, self._principal, _key(params))
        self._validate(operation, call)
        answer = self._retries.run(operation, lambda: self._try(call))
        self._answered(call, answer)
        return answer

    def _validate(self, operation: OperationModel, call: Call) -> None:
        """Check parameters as botocore does; the same ones once, as rollouts look at the same things."""
        # One content of an object is as good as another.
        given = tuple((name, kind, None if kind is bytes else value) for name, kind, value in call.key)
        key = call.service, call.operation, given
        if key not in _VALID:
            _validate(operation, call.params)
            if len(_VALID) > MOST_KNOWN:
                _VALID.clear()
            _VALID.add(key)

    def _try(self, call: Call) -> Answer:
        try:
            return self._faults.around(
                call.service,
                call.operation,
                call.principal,
                lambda: self._around(call, lambda: self._perform(call)),
                key=call.key,
            )
        except ServiceError as error:
            raise refused(call.operation, error) from None
        except NoAnswerError as fault:
            url = f"https://{call.service}.direct/"
            raise no_answer(fault, url, READ_TIMEOUT_SECONDS) from fault

    def _perform(self, call: Call) -> Answer:
        handler = self._handlers.get(call.operation)
        if handler is None:
            what = f"The direct account does not model {call.operation} of {call.service}."
            raise ServiceError("InvalidAction", what)
        return dict(handler(call.params) or {})


def refused(operation: str, error: ServiceError) -> ClientError:
    """Return a service's refusal as boto3 raises it."""
    return ClientError(
        {
            "Error": {"Code": error.code, "Message": error.message},
            "ResponseMetadata": {
                "HTTPStatusCode": error.http_status,
                "RequestId": "direct",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


def _key(params: Params) -> Key:
    return tuple(
        (name, type(value), value if isinstance(value, str | int | bytes) else str(value))
        for name, value in params.items()
    )


@cache
def operations(service: str) -> dict[str, OperationModel]:
    """Return a service's operations by the names of boto3's methods."""
    model = _session().get_service_model(service)
    return {xform_name(name): model.operation_model(name) for name in model.operation_names}


def _validate(operation: OperationModel, params: Params) -> None:
    if operation.input_shape is None:
        if params:
            raise ParamValidationError(report=f"{operation.name} takes no parameters")
        return
    report = ParamValidator().validate(params, operation.input_shape)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


@cache
def _paginators(service: str) -> dict[str, dict[str, Any]]:
    loader = _session().get_component("data_loader")
    model = PaginatorModel(loader.load_service_model(service, "paginators-1"))
    names = [operation.name for operation in operations(service).values()]
    found = {}
    for name in names:
        try:
            found[name] = model.get_paginator(name)
        except ValueError:
            continue  # the operation has no pages
    return found
