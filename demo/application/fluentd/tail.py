"""The tail input: follows one log file and remembers in a pos_file how far it has read."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

READ_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Position:
    """How far a file has been read."""

    offset: int
    inode: int


class PosFile:
    """Fluentd's pos_file: per line a path, the offset as 16 hex digits and the inode as 16, parted by tabs.

    Source: https://docs.fluentd.org/input/tail, "pos_file".
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, tailed: Path) -> Position | None:
        """Find the position of a file, if one is remembered.

        :raises ValueError: if the line is not in the format above.
        """
        if not self._path.exists():
            return None
        for line in self._path.read_text().splitlines():
            name, offset, inode = line.split("\t")
            if name == str(tailed):
                return Position(int(offset, 16), int(inode, 16))
        return None

    def write(self, tailed: Path, position: Position) -> None:
        """Remember a position; a crash leaves either the old or the new one."""
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(f"{tailed}\t{position.offset:016x}\t{position.inode:016x}\n")
        fresh.replace(self._path)


class Tail:
    """Hands over new whole lines, and moves the position only after they are in the buffer.

    So a crash between the two sends lines twice, never not at all. A file that was replaced (rotated) is read
    to its end before the new one is begun; one that was cut short is read from its head.

    :param path: the file to follow; it need not be there yet.
    :param emit: takes whole lines and returns once they are safe.
    """

    def __init__(self, path: Path, pos_file: PosFile, emit: Callable[[bytes], None]) -> None:
        self._path = path
        self._pos_file = pos_file
        self._emit = emit
        self._stream: BinaryIO | None = None
        self._inode = 0
        self._offset = 0
        self.emit_records = 0
        self.emit_size = 0

    def poll(self) -> None:
        """Read what was written since the last time."""
        if self._stream is None and not self._open():
            return
        self._read_to_end()
        if self._replaced():
            self._read_to_end()  # what came in between the last read and the rename
            self.close()
            if self._open():
                self._read_to_end()

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> bool:
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return False
        inode = os.fstat(stream.fileno()).st_ino
        known = self._pos_file.read(self._path)
        self._stream, self._inode = stream, inode
        self._offset = known.offset if known is not None and known.inode == inode else 0
        self._remember()
        return True

    def _replaced(self) -> bool:
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return False  # moved away; its successor is not there yet

    def _read_to_end(self) -> None:
        if self._stream is None:
            return
        if os.fstat(self._stream.fileno()).st_size < self._offset:
            self._offset = 0
        while True:
            self._stream.seek(self._offset)
            data = self._stream.read(READ_BYTES)
            end = data.rfind(b"\n") + 1
            if end == 0:
                return
            lines = data[:end]
            self._emit(lines)
            self._offset += end
            self._remember()
            self.emit_records += lines.count(b"\n")
            self.emit_size += end

    def _remember(self) -> None:
        self._pos_file.write(self._path, Position(self._offset, self._inode))
