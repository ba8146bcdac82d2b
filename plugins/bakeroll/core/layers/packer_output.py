"""Read what Packer says: its lines for people, and its manifest for us."""

from __future__ import annotations

import json
import re
from collections import deque
from pathlib import Path

from bakeroll.core.errors import BakeError

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Packer puts the name of the build before every line, twice where Ansible speaks.
_BUILD_NAME = re.compile(r"^(?:==>\s*|\s+)?amazon-ebs(?:\.[\w-]+)?:\s?")
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.+?)\]")
_ANSIBLE_FAILURE = re.compile(r"^(?:fatal: |failed: |ERROR! |\[ERROR\]: )")
_IGNORED = re.compile(r"^\.\.\.ignoring")
_PACKER_FAILURE = re.compile(r"^(?:Build '.*' errored|Error: |Error |error: )|\berrored\b|^\* ")
_STATUS = re.compile(r"^status code: (\d{3}), request id: ")
_NO_ANSWER = "RequestError: send request failed"
_SERVER_ERROR = 500
_SHOWN_CHARACTERS = 600


class Transcript:
    """Follows a run of Packer line by line, and remembers what a failure would be explained with."""

    def __init__(self) -> None:
        self._task = ""
        self._ansible: str | None = None
        self._packer: str | None = None
        self._status = 0
        self._last: deque[str] = deque(maxlen=3)

    def readable(self, line: str) -> str:
        """Return a line without colours and without the build's name, and remember what it means."""
        text = _COLOUR.sub("", line).rstrip()
        plain = _BUILD_NAME.sub("", text)
        bare = plain.strip()
        if bare:
            self._last.append(bare)
        if found := _TASK.match(bare):
            self._task = found[1]
        elif _ANSIBLE_FAILURE.match(bare):
            self._ansible = f"task {self._task!r}: {bare}" if self._task else bare
        elif _IGNORED.match(bare):
            self._ansible = None
        elif _PACKER_FAILURE.search(bare):
            self._packer, self._status = bare, 0
        elif found := _STATUS.match(bare):
            self._status = int(found[1])
        return plain

    @property
    def passing(self) -> bool:
        """Whether it failed of AWS, which may do the same call a little later.

        The line after Packer's failure has the status of EC2's answer: throttling (``RequestLimitExceeded``)
        is a 503, and all from 500 on are AWS's own ("Error codes for the Amazon EC2 API", EC2 API reference).
        """
        if self._ansible is not None or self._packer is None:
            return False
        return self._status >= _SERVER_ERROR or _NO_ANSWER in self._packer

    def failure(self) -> str:
        """Return the line that explains a failure best: Ansible's, else Packer's, else the last one."""
        said = self._ansible or self._packer or (" / ".join(self._last) or "no output")
        return said if len(said) <= _SHOWN_CHARACTERS else said[: _SHOWN_CHARACTERS - 3] + "..."


def image_of_manifest(path: Path, region: str) -> str:
    """Return the image id that the manifest post-processor wrote.

    Source: Packer, "Manifest Post-Processor"; ``artifact_id`` is ``<region>:<image id>``, several
    separated by commas.

    :raises BakeError: if there is no manifest, or no image of this region in its last run.
    """
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        builds = [
            build for build in manifest["builds"] if build["packer_run_uuid"] == manifest["last_run_uuid"]
        ]
        artifacts = [part for build in builds for part in build["artifact_id"].split(",")]
    except (OSError, ValueError, KeyError) as error:
        raise BakeError(
            f"Packer ended well but left no readable manifest ({error}); keep its post-processor"
        ) from error
    for artifact in artifacts:
        place, _, image_id = artifact.partition(":")
        if place == region and image_id.startswith("ami-"):
            return str(image_id)
    raise BakeError(
        f"Packer's manifest names no image in {region}, only {artifacts}; check the template's region"
    )
