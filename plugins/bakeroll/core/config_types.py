"""The kinds of values that environment files are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

DURATION = r"^[0-9]+[smh]$"
SECONDS = {"s": 1, "m": 60, "h": 3600}
LONGEST_SECONDS = 48 * 3600
"""No lifecycle action waits longer (API reference, PutLifecycleHook)."""


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not re.match(DURATION, value):
        raise ValueError("expected a whole number and a unit, such as 30s, 15m or 2h")
    seconds = int(value[:-1]) * SECONDS[value[-1]]
    if seconds > LONGEST_SECONDS:
        raise ValueError("expected at most 48h")
    return timedelta(seconds=seconds)


def duration_text(value: timedelta) -> str:
    """Return a duration as a file has it.

    :param value: whole seconds.
    """
    seconds = round(value.total_seconds())
    return f"{seconds // 60}m" if seconds and seconds % 60 == 0 else f"{seconds}s"


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected more than 0s")
    return value


DurationOrNone = Annotated[
    timedelta, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": DURATION})
]
"""A duration that may be ``0s``."""
Duration = Annotated[DurationOrNone, AfterValidator(_positive)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


@dataclass(frozen=True)
class Matching:
    """A text of a certain form, which is kept together with the words for it: people read no patterns.

    :param pattern: regular expression of the whole text, for editors too.
    :param expected: what is expected, with an example.
    """

    pattern: str
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise ValueError(f"expected {self.expected}")
        return value


class Model(BaseModel):
    """A part of an environment file: what it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def inner_model(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model that a key holds, and whether it holds several of them by name.

    :param annotation: the key's type: a model, a model or None, or a mapping of names to models.
    """
    if isinstance(annotation, type):
        return (annotation if issubclass(annotation, BaseModel) else None), False
    found = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return (found[0] if found else None), get_origin(annotation) is dict
