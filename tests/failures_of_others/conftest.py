"""What these tests share."""

from __future__ import annotations

from tests.failures_of_others.support import layers

__all__ = ["layers"]
