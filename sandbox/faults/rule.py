"""What all faults that stand until they are cleared have in common: how often they hit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from random import Random
from typing import Any

from sandbox.faults import fields as readers

HOW_OFTEN: Mapping[str, readers.Reader] = {
    "count": readers.whole(1),
    "rate": readers.rate,
    "skip": readers.whole(0),
}


@dataclass(kw_only=True)
class Rule:
    """One setting, with what is left of it."""

    fault: str
    rate: float = 1.0
    count: int | None = None
    """How often it still hits; None: any number of times."""
    skip: int = 0
    """How many matches it still lets pass."""
    hits: int = 0

    def strikes(self, random: Random) -> bool:
        """Tell whether it hits what matches, and count that."""
        if self.spent:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.rate < 1 and random.random() >= self.rate:
            return False
        if self.count is not None:
            self.count -= 1
        self.hits += 1
        return True

    @property
    def spent(self) -> bool:
        """Whether it will hit no more."""
        return self.count == 0

    def end(self) -> None:  # most have nothing to end
        """Let it hit no more."""

    def shape(self) -> dict[str, Any]:
        """Return it as it was set, with what is left and how often it hit."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.repr}
        return {name: value for name, value in values.items() if value is not None}
