"""Looks for secrets in processes while something runs; tests/secrets_written.py looks at what was written.

A test says what the secrets are, runs something, and asks where they were seen: plain, in base64, or in
archives.
"""

from __future__ import annotations

import base64
import fnmatch
import gzip
import io
import os
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ARGUMENTS = "arguments"
ENVIRONMENT = "environment"
# Of a short word each second file has a copy somewhere; of these, none has one by chance.
_SHORTEST = 12
_DEEPEST_ARCHIVE = 3
# A program is started soon after its process, and seldom later: old processes are looked at now and then.
_YOUNG_LOOKS = 50
_SELDOM = 20


@dataclass(frozen=True, order=True)
class Sighting:
    """A secret where it was seen.

    :param secret: its name; never its value, as test reports are logs as well.
    :param place: ``arguments`` or ``environment`` of a process, else file, table, object or call.
    :param program: the process's program; empty elsewhere.
    :param variable: of the environment; empty elsewhere.
    :param user: id of the process's user; -1 elsewhere.
    """

    secret: str
    place: str
    program: str = ""
    variable: str = ""
    user: int = -1


@dataclass(frozen=True)
class Allowed:
    """Where a secret may be; each a pattern of file names (``*``), and all of them must fit."""

    secret: str
    place: str
    program: str = "*"
    variable: str = "*"

    def __contains__(self, seen: object) -> bool:
        """Tell whether this allows a sighting."""
        return isinstance(seen, Sighting) and all(
            fnmatch.fnmatchcase(getattr(seen, name), pattern) for name, pattern in vars(self).items()
        )


class Secrets:
    """What is looked for.

    :param values: each secret by its name.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        short = [name for name, value in values.items() if len(value) < _SHORTEST]
        assert not short, f"too short to be told from an ordinary word: {short}"
        self._forms = {name: tuple(_forms(value)) for name, value in values.items()}

    def within(self, content: bytes) -> set[str]:
        """Name the secrets that some bytes show, however they are packed."""
        return {
            name
            for part in _unpacked(content, _DEEPEST_ARCHIVE)
            for name, forms in self._forms.items()
            if any(form in part for form in forms)
        }

    def plainly_within(self, content: bytes) -> set[str]:
        """Name the secrets that some bytes show as they are."""
        return {name for name, forms in self._forms.items() if any(form in content for form in forms)}


class SecretsWatch:
    """Looks at arguments and environment of every process of this machine for as long as it is entered.

    :param secrets: what is looked for.
    :param pause_seconds: between two looks; a process that lives shorter may be missed, which is why a bake
        is also traced (tests/strace.py).
    """

    def __init__(self, secrets: Secrets, pause_seconds: float = 0.01) -> None:
        self._secrets = secrets
        self._pause_seconds = pause_seconds
        self._ended = threading.Event()
        self._known: dict[int, tuple[bytes, int]] = {}
        self._sightings: set[Sighting] = set()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._look_on, name="secrets watch", daemon=True)
        self.looks = 0

    def __enter__(self) -> SecretsWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def sightings(self, *allowed: Allowed) -> list[Sighting]:
        """Tell where secrets were seen, but where they are allowed."""
        return unexpected(self._sightings, *allowed)

    def _look_on(self) -> None:
        try:
            while not self._ended.is_set():
                self.look()
                self._ended.wait(self._pause_seconds)
        except BaseException as error:  # noqa: BLE001 - a watch that died must not look like one that saw nothing
            self._failure = error

    def look(self) -> None:
        """Look at every process once."""
        present = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        for gone in self._known.keys() - present:
            del self._known[gone]
        for pid in present:
            arguments, since = self._known.get(pid, (b"", self.looks))
            if self.looks - since < _YOUNG_LOOKS or (self.looks + pid) % _SELDOM == 0:
                self._look_at(pid, arguments, since)
        self.looks += 1

    def _look_at(self, pid: int, before: bytes, since: int) -> None:
        """Look at a process if it is new, or another program since.

        :param before: its arguments when it was last looked at.
        :param since: the look that it was first seen in.
        """
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as stream:  # noqa: PTH123
                arguments = stream.read()
            self._known[pid] = (arguments, since)
            if not arguments or arguments == before:
                return
            with open(f"/proc/{pid}/environ", "rb") as stream:  # noqa: PTH123
                environment = stream.read()
            user = os.stat(f"/proc/{pid}").st_uid  # noqa: PTH116
        except (FileNotFoundError, ProcessLookupError):
            return
        except PermissionError:
            environment, user = b"", -1
        program = _program(arguments)
        for secret in self._secrets.plainly_within(arguments):
            self._sightings.add(Sighting(secret, ARGUMENTS, program, "", user))
        for entry in environment.split(b"\0"):
            for secret in self._secrets.plainly_within(entry):
                variable = os.fsdecode(entry.partition(b"=")[0])
                self._sightings.add(Sighting(secret, ENVIRONMENT, program, variable, user))


def _program(arguments: bytes) -> str:
    """Name a process's program; of an interpreter, what it runs."""
    words = [os.fsdecode(word) for word in arguments.split(b"\0")]
    name = Path(words[0]).name
    if name.startswith(("python", "sh", "bash", "dash")) and len(words) > 1:
        return next((Path(word).name for word in words[1:] if word and not word.startswith("-")), name)
    return name


def unexpected(sightings: Iterable[Sighting], *allowed: Allowed) -> list[Sighting]:
    """Leave out the sightings that are allowed."""
    return sorted(seen for seen in sightings if not any(seen in each for each in allowed))


def _forms(value: str) -> Iterator[bytes]:
    """Give a secret as it looks plain and in base64, wherever it begins in what was encoded."""
    yield value.encode()
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + value.encode()).decode()
        # What stands at either end also hangs on the neighbouring bytes.
        yield encoded[(0, 2, 3)[offset] : len(encoded) - 4].encode()


def _unpacked(content: bytes, depth: int) -> Iterator[bytes]:
    yield content
    if depth == 0:
        return
    try:
        if content.startswith(b"\x1f\x8b"):
            yield from _unpacked(gzip.decompress(content), depth - 1)
        elif content.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield from _unpacked(archive.read(name), depth - 1)
        elif content[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(content)) as bundle:
                for member in bundle:
                    if (opened := bundle.extractfile(member)) is not None:
                        yield from _unpacked(opened.read(), depth - 1)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError):
        return  # only looks like an archive; its bytes were given as they are
