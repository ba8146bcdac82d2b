"""Plays many schedules, in one process or in several.

New processes import this module, and could not import the command itself.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator

from tools.chaos.schedule import Outcome, play

SCHEDULES_OF_GARBAGE = 8
"""After how many schedules garbage is collected."""


def outcomes(seeds: range, processes: int) -> Iterator[Outcome]:
    """Play schedules, in as many processes as told; the order is theirs."""
    if len(seeds) == 1:
        yield play(seeds[0])
    elif processes <= 1:
        _begin()
        try:
            yield from map(_played, seeds)
        finally:
            gc.unfreeze()
            gc.enable()
    else:
        with multiprocessing.get_context("spawn").Pool(processes, _begin) as pool:
            yield from pool.imap_unordered(_played, seeds, chunksize=4)


def _begin() -> None:
    """Collect garbage between schedules only: in the middle of one hardly anything is garbage yet."""
    gc.freeze()
    gc.disable()


def _played(seed: int) -> Outcome:
    """Play one of many; the story of one in which all holds is told nobody."""
    outcome = play(seed)
    if not outcome.violation:
        outcome.story.clear()
    if seed % SCHEDULES_OF_GARBAGE == 0:
        gc.collect()
    return outcome
