"""How each service refuses when it is overloaded or broken.

Sources: "Common Errors" of each service's API reference (``InternalFailure`` 500, ``ServiceUnavailable`` 503,
throttling 400); EC2 API reference, "Error codes" (``RequestLimitExceeded``, ``InternalError``,
``Unavailable``) and developer guide, "Request throttling for the Amazon EC2 API"; S3 API reference, "List of
error codes" (``SlowDown`` 503, ``InternalError`` 500, ``ServiceUnavailable`` 503); Service Quotas API
reference (``TooManyRequestsException``). The services of the query protocol answer ``Throttling``, those
of the JSON protocols ``ThrottlingException``; botocore tries all of
them again (``botocore/data/_retry.json``).
"""

from __future__ import annotations

from sandbox.model.errors import ServiceError

_QUERY = ("Throttling", "Rate exceeded", 400)
_JSON = ("ThrottlingException", "Rate exceeded", 400)

THROTTLED: dict[str, tuple[str, str, int]] = {
    "autoscaling": _QUERY,
    "cloudwatch": _QUERY,
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "elbv2": _QUERY,
    "events": _JSON,
    "iam": _QUERY,
    "kms": _JSON,
    "logs": _JSON,
    "resourcegroupstaggingapi": ("ThrottledException", "Rate exceeded", 400),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "secretsmanager": _JSON,
    "service-quotas": ("TooManyRequestsException", "Rate exceeded", 400),
    "sns": _QUERY,
    "sqs": ("RequestThrottled", "Request is throttled.", 400),
    "ssm": _JSON,
    "sts": _QUERY,
}
"""Code, message and HTTP status by botocore's name of the service."""

_INTERNAL = {
    "ec2": ("InternalError", "An internal error has occurred"),
    "s3": ("InternalError", "We encountered an internal error. Please try again."),
    "ssm": ("InternalServerError", "An error occurred on the server side."),
}
_UNAVAILABLE = {
    "ec2": ("Unavailable", "The server is overloaded and can't handle the request."),
    "s3": ("ServiceUnavailable", "Service is unable to handle request."),
}


def throttled(service: str) -> ServiceError:
    """Return a service's answer to too many calls."""
    return ServiceError(*THROTTLED.get(service, _JSON))


def internal(service: str) -> ServiceError:
    """Return a service's answer when something breaks inside of it."""
    common = (
        "InternalFailure",
        "The request processing has failed because of an unknown error, exception or failure.",
    )
    return ServiceError(*_INTERNAL.get(service, common), 500)


def unavailable(service: str) -> ServiceError:
    """Return a service's answer when it cannot answer for a while."""
    common = ("ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
    return ServiceError(*_UNAVAILABLE.get(service, common), 503)
