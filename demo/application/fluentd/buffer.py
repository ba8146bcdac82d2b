"""The file buffer: one chunk that grows (staged), and chunks that wait to be sent (queued)."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Chunk:
    """One file of whole lines."""

    path: Path
    size: int
    created: float


@dataclass(frozen=True, kw_only=True)
class BufferState:
    """What the monitor agent reports, in Fluentd's sense of the words.

    A chunk that is just being sent has left the queue, but its bytes count until it is delivered: so an empty
    queue alone does not mean that everything has arrived.
    """

    stage_length: int
    stage_bytes: int
    queue_length: int
    queue_bytes: int

    @property
    def total_queued_size(self) -> int:
        """All bytes not delivered yet: staged, queued and being sent."""
        return self.stage_bytes + self.queue_bytes


class FileBuffer:
    """Keeps lines on disk until they are delivered, also over a restart.

    File names follow Fluentd's: ``buffer.b<id>.log`` is staged, ``buffer.q<id>.log`` is queued.

    :param folder: where the chunks lie; made if it is not there.
    :param chunk_limit_bytes: a staged chunk that has reached this size is queued by itself.
    """

    def __init__(self, folder: Path, chunk_limit_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._chunk_limit_bytes = chunk_limit_bytes
        self._lock = threading.Lock()
        self._sending: Chunk | None = None
        self._queue = self._found("q")
        staged = self._found("b")
        self._stage = staged.pop() if staged else None
        for chunk in staged:  # more than one only if the process died between two steps
            self._enqueue(chunk)

    def append(self, lines: bytes) -> bool:
        """Put whole lines on disk.

        :param lines: one or more lines, each with its line feed.
        :return: whether a chunk became full and was queued.
        """
        with self._lock:
            if self._stage is None:
                path = self._folder / f"buffer.b{uuid.uuid4().hex}.log"
                self._stage = Chunk(path=path, size=0, created=time.time())
            with self._stage.path.open("ab") as stream:
                stream.write(lines)
            self._stage.size += len(lines)
            full = self._stage.size >= self._chunk_limit_bytes
            if full:
                self._enqueue_stage()
            return full

    def enqueue_all(self) -> None:
        """Queue what is staged."""
        with self._lock:
            self._enqueue_stage()

    def stage_age_seconds(self) -> float:
        """How old the staged chunk is; 0 if there is none."""
        with self._lock:
            return time.time() - self._stage.created if self._stage else 0.0

    def take(self) -> Chunk | None:
        """Take the oldest queued chunk to send it; :meth:`purge` or :meth:`put_back` it afterwards."""
        with self._lock:
            if self._sending is None and self._queue:
                self._sending = self._queue.pop(0)
                return self._sending
            return None

    def purge(self) -> None:
        """Delete the taken chunk: it was delivered."""
        with self._lock:
            if self._sending is not None:
                self._sending.path.unlink()
                self._sending = None

    def put_back(self) -> None:
        """Queue the taken chunk again, as the first: it could not be delivered."""
        with self._lock:
            if self._sending is not None:
                self._queue.insert(0, self._sending)
                self._sending = None

    def state(self) -> BufferState:
        """Tell what is in the buffer at this moment."""
        with self._lock:
            sending = self._sending.size if self._sending else 0
            return BufferState(
                stage_length=1 if self._stage else 0,
                stage_bytes=self._stage.size if self._stage else 0,
                queue_length=len(self._queue),
                queue_bytes=sending + sum(chunk.size for chunk in self._queue),
            )

    def _enqueue_stage(self) -> None:
        if self._stage is not None:
            self._enqueue(self._stage)
            self._stage = None

    def _enqueue(self, chunk: Chunk) -> None:
        queued = chunk.path.with_name("buffer.q" + chunk.path.name.removeprefix("buffer.b"))
        chunk.path.rename(queued)
        chunk.path = queued
        self._queue.append(chunk)

    def _found(self, kind: str) -> list[Chunk]:
        chunks = []
        for path in self._folder.glob(f"buffer.{kind}*.log"):
            facts = path.stat()
            chunks.append(Chunk(path=path, size=facts.st_size, created=facts.st_mtime))
        return sorted(chunks, key=lambda chunk: chunk.created)
