"""Tries calls again as botocore's standard mode does, with botocore's own conditions and pauses."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeVar

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, HTTPClientError
from botocore.model import OperationModel
from botocore.retries.standard import ExponentialBackoff, RetryContext, StandardRetryConditions

Result = TypeVar("Result")


class Retries:
    """Runs calls, again where botocore would.

    :param attempts: how often at the most, the first included.
    :param random: draws the pauses.
    :param pass_time: lets some seconds go by.
    """

    def __init__(self, attempts: int, *, random: Random, pass_time: Callable[[float], object]) -> None:
        self._conditions = StandardRetryConditions(max_attempts=attempts)
        self._pauses = ExponentialBackoff(random=random.random)
        self._pass_time = pass_time

    def run(self, operation: OperationModel, call: Callable[[], Result]) -> Result:
        """Run a call until it succeeds, fails for good, or was tried often enough."""
        attempt = 1
        while True:
            try:
                return call()
            except (ClientError, HTTPClientError) as error:
                context = _context(attempt, operation, error)
                if not self._conditions.is_retryable(context):
                    raise
                self._pass_time(self._pauses.delay_amount(context))
                attempt += 1


def _context(attempt: int, operation: OperationModel, error: ClientError | HTTPClientError) -> RetryContext:
    if isinstance(error, HTTPClientError):
        return RetryContext(attempt_number=attempt, operation_model=operation, caught_exception=error)
    parsed: dict[str, Any] = dict(error.response)
    status = parsed["ResponseMetadata"]["HTTPStatusCode"]
    return RetryContext(
        attempt_number=attempt,
        operation_model=operation,
        parsed_response=parsed,
        http_response=AWSResponse("", status, HTTPHeaders(), None),
    )
