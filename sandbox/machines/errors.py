"""What can go wrong with real machines."""

from __future__ import annotations


class MachineError(Exception):
    """A machine, an image or the root filesystem could not be made; the text says why and what to do."""
