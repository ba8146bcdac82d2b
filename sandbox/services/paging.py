"""Answers long lists in pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.model.errors import ServiceError


def page(items: Sequence[Any], params: Mapping[str, Any], limit: int) -> tuple[list[Any], dict[str, str]]:
    """Return one page of a list, and the next token if there is more.

    :param params: the request with ``MaxResults`` and ``NextToken``.
    :param limit: most items of a page where the request does not say.
    :raises ServiceError: InvalidNextToken.
    """
    token = params.get("NextToken") or "0"
    if not token.isdigit():
        raise ServiceError("InvalidNextToken", "The specified token is not valid.")
    start = int(token)
    end = start + int(params.get("MaxResults") or limit)
    return list(items[start:end]), ({"NextToken": str(end)} if end < len(items) else {})
