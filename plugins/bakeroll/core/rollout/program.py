"""The order of the steps that roll one fleet: what simulated rollouts run, and a test holds the DAG to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bakeroll.core import config


@dataclass(frozen=True)
class Task:
    """One step of one wave.

    :ivar wave: counted from 1.
    :ivar mapped: the argument that takes one part of the result of the step before; empty if the step runs
        once.
    """

    step: str
    wave: int
    mapped: str = ""


def program(fleet: config.Fleet) -> Iterator[Task]:
    """Return the steps of a fleet in their order."""
    last = len(fleet.waves)
    for wave in range(1, last + 1):
        yield Task("scale_out", wave)
        yield Task("await_capacity", wave)
        if fleet.gate.asks:
            yield Task("gate", wave)
        yield Task("retire", wave)
        yield Task("drain", wave, mapped="instance_ids")
        if wave < last:
            yield Task("proceed", wave)
    yield Task("verify", last)
