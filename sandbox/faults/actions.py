"""Which calls a fault is for: ``autoscaling:Describe*``."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import UnknownServiceError

from sandbox.faults.errors import FaultSettingError
from sandbox.faults.fields import text

BY_IAM_NAME = {
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "tag": "resourcegroupstaggingapi",
}
"""IAM's prefixes, where botocore calls the service otherwise; both are understood."""

_READS = ("Describe", "Get", "List")
_ALWAYS_FRESH = frozenset({"s3", "sts", "sqs"})
"""S3 reads what was written ("Amazon S3 data consistency model"); SQS hands out, and STS keeps nothing."""


def read_action(name: str, value: Any) -> str:
    """Read ``service:Action``, with wildcards; ``*`` is every call.

    :raises FaultSettingError: if no call could ever match.
    """
    given = text(name, value)
    if given == "*":
        return given
    service, colon, operation = given.partition(":")
    if not (colon and service and operation):
        message = f"{name} is {given!r}, expected service:Action, for instance autoscaling:Describe*, or *"
        raise FaultSettingError(message)
    service = BY_IAM_NAME.get(service, service)
    if not set("*?[") & set(service):
        operations = _operations(service)
        if operations is None:
            message = f"{name} is {given!r}, but there is no service {service}"
            raise FaultSettingError(message)
        if not any(fnmatchcase(each, operation) for each in operations):
            message = f"{name} is {given!r}, but {service} has no such action"
            raise FaultSettingError(message)
    return f"{service}:{operation}"


def may_be_stale(service: str, operation: str) -> bool:
    """Tell whether a call reads what AWS keeps in several places, so that it may be behind.

    Sources: EC2 developer guide, "Eventual consistency in the Amazon EC2 API"; IAM user guide, "Changes
    that I make are not always immediately visible".
    """
    return not is_always_fresh(service) and operation.startswith(_READS)


def is_always_fresh(service: str) -> bool:
    """Tell whether a service's reads show what was written last."""
    return service in _ALWAYS_FRESH


@cache
def _operations(service: str) -> frozenset[str] | None:
    try:
        model = botocore.session.get_session().get_service_model(service)
    except UnknownServiceError:
        return None
    return frozenset(model.operation_names)
