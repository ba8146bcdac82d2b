"""What an AWS service answers when it refuses."""

from __future__ import annotations


class ServiceError(Exception):
    """An API call is refused, in AWS's words.

    :param code: error code as AWS documents it, for instance ``ValidationError``.
    :param message: one sentence.
    :param http_status: status of the answer.
    """

    def __init__(self, code: str, message: str, http_status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.http_status = http_status


def validation_error(message: str) -> ServiceError:
    """Return Auto Scaling's answer to a request that makes no sense."""
    return ServiceError("ValidationError", message)


def not_modelled(what: str) -> ServiceError:
    """Return the answer to a request that AWS would serve and the sandbox does not."""
    return ServiceError("ValidationError", f"{what} is not modelled by the sandbox.")
