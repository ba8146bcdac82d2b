"""The access log: one JSON line for every answered request."""

from __future__ import annotations

import json
import os
from pathlib import Path


class AccessLog:
    """Appends whole lines, each with a single write, so that a tailing reader sees no two mixed up.

    :param path: the log file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        # 0640: the forwarder reads it through its group, nobody else does.
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def write(self, record: dict[str, object]) -> None:
        """Append one record.

        :param record: what to log; JSON can carry it.
        :raises OSError: if the line could not be written whole.
        """
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(f"the access log took {written} of {len(line)} bytes")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
