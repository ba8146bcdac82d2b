"""What a client makes of a call that is never answered."""

from __future__ import annotations

from botocore.exceptions import ConnectionClosedError, HTTPClientError, ReadTimeoutError

from sandbox.faults.errors import NoAnswerError


def no_answer(fault: NoAnswerError, url: str, read_timeout: float) -> HTTPClientError:
    """Return what botocore raises where the connection stays silent and is closed.

    :param read_timeout: seconds after which the client hangs up itself.
    """
    if fault.seconds >= read_timeout:
        return ReadTimeoutError(endpoint_url=url)
    return ConnectionClosedError(endpoint_url=url)
