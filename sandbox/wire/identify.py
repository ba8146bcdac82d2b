"""Finds out which action of which service a request calls, and who calls."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from moto.core.request import Request
from moto.core.routing import NotFound, get_service_router

from sandbox.wire.protocol import Call, protocol_of

SERVICES = {
    "autoscaling": "autoscaling",
    "ec2": "ec2",
    "elasticloadbalancing": "elbv2",
    "events": "events",
    "iam": "iam",
    "kms": "kms",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "s3": "s3",
    "secretsmanager": "secretsmanager",
    "servicequotas": "service-quotas",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
    "sts": "sts",
    "tagging": "resourcegroupstaggingapi",
}
"""The account's services by the names that requests are signed for; others would reach around the model."""

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d+/[^/]+/([^/]+)/aws4_request")
_PRODUCT = re.compile(r"(?:^|\s)([A-Za-z][\w.-]*)/\S")
_SMITHY_PATH = re.compile(r"/service/[^/]+/operation/([^/]+)")


class UnknownServiceError(Exception):
    """A request is for no service of this account."""


def identify(request: Request) -> Call:
    """Tell what a request calls; its parameters are not read yet.

    :raises UnknownServiceError: if it is unsigned or signed for a service that is not there.
    """
    credential = request.headers.get("Authorization") or ""
    match = _CREDENTIAL.search(credential)
    if match is None and "X-Amz-Credential" in request.args:
        match = _CREDENTIAL.search(f"Credential={request.args['X-Amz-Credential']}")
    if match is None:
        message = "the request is not signed with AWS Signature Version 4"
        raise UnknownServiceError(message)
    principal, signed_for = match.groups()
    service = SERVICES.get(signed_for.lower())
    if service is None:
        message = f"the sandbox has no service {signed_for}"
        raise UnknownServiceError(message)
    if service == "elbv2" and _form_value(request, "Version") == "2012-06-01":
        message = "the sandbox has no Classic Load Balancers"
        raise UnknownServiceError(message)
    action = _action(service, request)
    # A request that names no action, or has no body of its own, is answered in the service's first protocol.
    return Call(
        service=service,
        action=action,
        principal=principal,
        protocol=_protocol(service, request),
        tool=tool_of(request.headers.get("User-Agent") or ""),
    )


def tool_of(user_agent: str) -> str:
    """Tell which program calls, by what its SDK sends with each request; ``unknown`` if that tells nothing.

    HashiCorp's tools name partner and company first: ``APN/1.0 HashiCorp/1.0 Packer/1.6.6 … aws-sdk-go/…``.
    """
    names = [match.lower() for match in _PRODUCT.findall(user_agent)]
    return next((name for name in names if name not in {"apn", "hashicorp"}), "unknown")


def _protocol(service: str, request: Request) -> str:
    if _SMITHY_PATH.fullmatch(request.path):
        return "smithy-rpc-v2-cbor"
    return protocol_of(service, request)


def _action(service: str, request: Request) -> str:
    target: str | None = request.headers.get("X-Amz-Target")
    if target:
        return target.rsplit(".", 1)[-1]
    smithy = _SMITHY_PATH.fullmatch(request.path)
    if smithy:
        return str(smithy.group(1))
    if service == "s3":
        return _s3_action(request)
    return _form_value(request, "Action") or ""


def _s3_action(request: Request) -> str:
    try:
        operation, _ = get_service_router("s3").match(request)
    except NotFound:
        return str(request.method)
    return str(operation.name)


def _form_value(request: Request, name: str) -> str | None:
    if name in request.args:
        return str(request.args[name])
    # Not request.form: that would consume a body that is not a form.
    if not (request.content_type or "").startswith("application/x-www-form-urlencoded"):
        return None
    values = parse_qs(request.get_data(cache=True).decode()).get(name)
    return values[0] if values else None
