"""moto's own WSGI application and back ends, for one account in one region."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.cloudwatch.models import cloudwatch_backends
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from sandbox.model.errors import ServiceError
from sandbox.wire import wsgi

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIEnvironment

NO_AMIS = {"MOTO_EC2_LOAD_DEFAULT_AMIS": "false"}
"""moto would begin each account with a thousand images of its own, which have no file system here."""


class Moto:
    """moto, emptied, as the account that the sandbox plays.

    moto keeps its state in module globals: of two at once only the newer may be used.
    Call it only while holding the account's lock.

    :param managed_policies: whether IAM has the policies that AWS itself manages.
    """

    def __init__(self, region: str, account_id: str, *, managed_policies: bool = False) -> None:
        self.region = region
        self.account_id = account_id
        self._clients: dict[str, Any] = {}
        loaded = {"MOTO_IAM_LOAD_MANAGED_POLICIES": str(managed_policies).lower()}
        with _environment(NO_AMIS | loaded):
            BackendDict.reset()
            reset_model_data()
            for name in ("us-east-1", region):  # moto resolves its URLs with the first, whatever the region
                _ = ec2_backends[account_id][name]
                _ = ec2_backends[_default_account()][name]
            _ = iam_backends[account_id]["aws"]
        self._app = _application()

    def forward(self, environ: WSGIEnvironment) -> tuple[int, dict[str, str], bytes]:
        """Let moto answer a request.

        :raises NotImplementedError: if moto does not know the action.
        """
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = self.account_id
        return wsgi.call(self._app, environ)

    def client(self, service: str) -> Any:
        """Return a boto3 client that talks to moto alone, past the sandbox's own services."""
        if service not in self._clients:
            client = new_client(service, self.region, "http://127.0.0.1", "SANDBOX0000000000000")
            wsgi.attach(client, self._wsgi)
            self._clients[service] = client
        return self._clients[service]

    def call(self, service: str, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Let moto perform an action on already parsed parameters.

        :raises ServiceError: as moto refuses.
        """
        client = self.client(service)
        try:
            answer: dict[str, Any] = getattr(client, _method(client, action))(**params)
        except ClientError as error:
            raise service_error(error) from error
        except NotImplementedError as error:
            raise ServiceError(
                "UnsupportedOperation", f"{action}: {error}; the sandbox does not model it."
            ) from error
        answer.pop("ResponseMetadata", None)
        return answer

    @property
    def ec2(self) -> Any:
        """Moto's EC2, for what no API changes: states, addresses, images."""
        return ec2_backends[self.account_id][self.region]

    @property
    def cloudwatch(self) -> Any:
        """Moto's CloudWatch, for its alarms."""
        return cloudwatch_backends[self.account_id][self.region]

    @property
    def elbv2(self) -> Any:
        """Moto's load balancers, for their addresses."""
        return elbv2_backends[self.account_id][self.region]

    @property
    def events(self) -> Any:
        """Moto's EventBridge, for its rules."""
        return events_backends[self.account_id][self.region]

    def _wsgi(self, environ: WSGIEnvironment, start_response: Any) -> list[bytes]:
        status, headers, body = self.forward(environ)
        return wsgi.respond(start_response, status, headers.items(), body)


def new_client(service: str, region: str, endpoint: str, principal: str, *, validate: bool = False) -> Any:
    """Return a boto3 client that tries each call once.

    :param principal: its access key id; the sandbox takes any.
    :param validate: check parameters before sending, as boto3 does unless told otherwise.
    """
    config = Config(
        retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, parameter_validation=validate
    )
    return boto3.client(
        service,  # type: ignore[call-overload]
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id=principal,
        aws_secret_access_key="sandbox",  # noqa: S106  # the sandbox checks no signature
        config=config,
    )


def service_error(error: ClientError) -> ServiceError:
    """Return moto's refusal as the sandbox's own."""
    details = error.response["Error"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return ServiceError(details["Code"], details["Message"], status)


@lru_cache(maxsize=1)
def _application() -> DomainDispatcherApplication:
    return DomainDispatcherApplication(create_backend_app)


@cache
def _methods(service: str) -> dict[str, str]:
    client = new_client(service, "us-east-1", "http://127.0.0.1", "SANDBOX0000000000000")
    return {action: method for method, action in client.meta.method_to_api_mapping.items()}


def _method(client: Any, action: str) -> str:
    return _methods(client.meta.service_model.service_name)[action]


def _default_account() -> str:
    from moto.core import DEFAULT_ACCOUNT_ID  # noqa: PLC0415  # read late: tests may set it

    return str(DEFAULT_ACCOUNT_ID)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
