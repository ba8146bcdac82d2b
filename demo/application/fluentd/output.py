"""The HTTP output: sends queued chunks to the collector, and again until the collector has taken them."""

from __future__ import annotations

import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException

from .buffer import Chunk, FileBuffer
from .settings import Settings


class HttpOutput:
    """Sends one chunk at a time, oldest first, as newline-delimited JSON.

    :param buffer: where the chunks come from.
    """

    def __init__(self, buffer: FileBuffer, settings: Settings) -> None:
        self._buffer = buffer
        self._settings = settings
        self._wake = threading.Event()
        self._flush_asked = threading.Event()
        self._stopping = threading.Event()
        self.retry_count = 0
        self.write_count = 0
        self.rollback_count = 0

    def flush(self) -> None:
        """Ask for everything to be sent now; comes back at once, as Fluentd's flush does."""
        self._flush_asked.set()
        self._wake.set()

    def wake(self) -> None:
        """Tell that a chunk was queued."""
        self._wake.set()

    def stop(self) -> None:
        """End :meth:`run` after the chunk that is being sent; the rest stays on disk."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Send chunks until told to stop."""
        pause_seconds = self._settings.retry_wait_seconds
        while not self._stopping.is_set():
            self._wake.clear()
            self._enqueue_what_is_due()
            chunk = self._buffer.take()
            if chunk is None:
                self._wake.wait(timeout=1.0)
                continue
            if self._deliver(chunk):
                pause_seconds = self._settings.retry_wait_seconds
                continue
            self._wake.wait(timeout=pause_seconds)
            pause_seconds = min(pause_seconds * 2, self._settings.retry_max_interval_seconds)

    def _enqueue_what_is_due(self) -> None:
        asked = self._flush_asked.is_set()
        self._flush_asked.clear()
        if asked or self._buffer.stage_age_seconds() >= self._settings.flush_interval_seconds:
            self._buffer.enqueue_all()

    def _deliver(self, chunk: Chunk) -> bool:
        started = time.monotonic()
        try:
            self._post(chunk)
        except (urllib.error.URLError, HTTPException, OSError) as error:
            self._buffer.put_back()
            self.retry_count += 1
            self.rollback_count += 1
            print(
                f"fluentd: {self._settings.collector_url} did not take {chunk.path.name}: {error}",
                file=sys.stderr,
            )
            return False
        self._buffer.purge()
        self.retry_count = 0
        self.write_count += 1
        print(f"fluentd: sent {chunk.size} bytes in {time.monotonic() - started:.3f} s", flush=True)
        return True

    def _post(self, chunk: Chunk) -> None:
        headers = {"Content-Type": "application/x-ndjson"}
        if self._settings.shared_key:
            headers["Authorization"] = f"Bearer {self._settings.shared_key}"
        request = urllib.request.Request(  # noqa: S310  # the scheme is checked when the program starts
            self._settings.collector_url, data=chunk.path.read_bytes(), headers=headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=self._settings.request_timeout_seconds) as answer:  # noqa: S310
            answer.read()
