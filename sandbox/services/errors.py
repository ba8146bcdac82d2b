"""The error that a handler raises; it belongs to the model, which refuses as well."""

from __future__ import annotations

from sandbox.model.errors import ServiceError, not_modelled, validation_error

__all__ = ["ServiceError", "not_modelled", "validation_error"]
