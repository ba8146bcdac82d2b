"""Waves as environment files write them: numbers of instances, then percentages, up to the whole fleet."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

PERCENTAGE = r"^([1-9][0-9]?|100)%$"
MOST_WAVES = 10
"""Each is a group of tasks in the graph; more would hide what goes on."""


def _share(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return str(value)
    if isinstance(value, str) and re.match(PERCENTAGE, value):
        return value
    raise ValueError('expected a number of instances, 1 or more, or a percentage such as "25%"')


def _rising(waves: list[str]) -> list[str]:
    """Refuse waves of which one could not be larger than the one before, whatever the fleet's size."""
    if waves[-1] != "100%":
        raise ValueError('expected "100%" as the last wave, so that every instance is replaced')
    order = [(share.endswith("%"), int(share.rstrip("%"))) for share in waves]
    if any(later <= sooner for sooner, later in pairwise(order)):
        raise ValueError("expected rising waves: numbers of instances first, then percentages")
    return waves


def _followed(pauses: list[int], info: ValidationInfo) -> list[int]:
    """Refuse a pause after a wave that no other follows."""
    waves = info.data.get("waves")  # None if they are wrong themselves
    if waves is not None and any(wave >= len(waves) for wave in pauses):
        raise ValueError(f"expected numbers of waves that another one follows; there are {len(waves)}")
    return pauses


Share = Annotated[
    str,
    BeforeValidator(_share),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": PERCENTAGE}]}),
]
"""A number of instances as text, or a percentage of the live target."""
Waves = Annotated[list[Share], Field(min_length=1, max_length=MOST_WAVES), AfterValidator(_rising)]
PauseAfter = Annotated[list[Annotated[int, Field(ge=1)]], AfterValidator(_followed)]
