"""MaxRecords and NextToken."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sandbox.services.errors import ServiceError, validation_error

T = TypeVar("T")


def page_by_key(
    items: Iterable[T], key: Callable[[T], str], params: Mapping[str, Any], *, default: int, limit: int
) -> tuple[list[T], dict[str, str]]:
    """Return one page in order of a key; it stays right when items come and go between pages.

    :return: the page and ``{"NextToken": ...}``, empty on the last page.
    """
    ordered = sorted(items, key=key)
    start = 0
    if "NextToken" in params:
        start = bisect_right([key(item) for item in ordered], _decode(params["NextToken"]))
    size = _size(params, default=default, limit=limit)
    page = ordered[start : start + size]
    more = start + size < len(ordered)
    return page, {"NextToken": _encode(key(page[-1]))} if more else {}


def page_by_place(
    items: Sequence[T], params: Mapping[str, Any], *, default: int, limit: int
) -> tuple[Sequence[T], dict[str, str]]:
    """Return one page of a list in its own order.

    :return: the page and ``{"NextToken": ...}``, empty on the last page.
    """
    start = 0
    if "NextToken" in params:
        place = _decode(params["NextToken"])
        if not place.isdigit():
            raise _bad_token()
        start = int(place)
    end = start + _size(params, default=default, limit=limit)
    return items[start:end], {"NextToken": _encode(str(end))} if end < len(items) else {}


def _size(params: Mapping[str, Any], *, default: int, limit: int) -> int:
    size = int(params.get("MaxRecords", default))
    if not 1 <= size <= limit:
        raise validation_error(
            f"1 validation error detected: Value '{size}' at 'maxRecords' failed to satisfy constraint: "
            f"Member must have value between 1 and {limit}"
        )
    return size


def _encode(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decode(token: str) -> str:
    try:
        return base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _bad_token() from None


def _bad_token() -> ServiceError:
    return ServiceError("InvalidNextToken", "The NextToken value is not valid.")
