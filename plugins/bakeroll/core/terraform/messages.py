"""What Terraform says with -json: lines for people, and diagnostics that become errors.

Source: https://developer.hashicorp.com/terraform/internals/machine-readable-ui
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bakeroll.core.errors import FinalError, LockedError, PlanError, StalePlanError

Message = dict[str, Any]

LOCKED = "Error acquiring the state lock"
STALE = "Saved plan is stale"

_LOCK_FIELD = re.compile(r"^\s*(ID|Operation|Who|Created):\s*(\S.*?)\s*$", re.MULTILINE)
_EXISTS = re.compile(r"already exists|AlreadyExists|Duplicate")
"""AWS's words for a name that is taken."""
_LONGEST = 500
"""Characters of a diagnostic that go into an error's line; the log has all of it."""


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning of Terraform.

    :param where: resource address or file and line, as far as Terraform says it.
    :param address: the resource's alone.
    """

    severity: str
    summary: str
    detail: str
    where: str
    address: str = ""

    def line(self) -> str:
        """Condense it to one line."""
        text = f"{self.summary.rstrip('.')}: {self.detail}" if self.detail else self.summary
        text = " ".join(text.split())
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST - 1]}…"
        return f"{text} ({self.where})" if self.where else text


def parse(line: str) -> Message | None:
    """Read one line of output; None if it is not one of Terraform's messages."""
    if not line.startswith("{"):
        return None
    try:
        message = json.loads(line)
    except json.JSONDecodeError:
        return None
    return message if isinstance(message, dict) and "@message" in message else None


def for_people(message: Message) -> Iterator[str]:
    """Give the lines of a message that a person wants to read."""
    if message.get("type") == "version":
        return
    yield from (line for line in str(message["@message"]).splitlines() if line.strip())
    diagnostic = diagnostic_of(message)
    if diagnostic is None:
        return
    if diagnostic.where:
        yield f"  {diagnostic.where}"
    yield from (f"  {line}" for line in diagnostic.detail.splitlines() if line.strip())


def diagnostic_of(message: Message) -> Diagnostic | None:
    """Give a message's diagnostic, if it is one."""
    found = message.get("diagnostic")
    if not isinstance(found, dict):
        return None
    return Diagnostic(
        severity=str(found.get("severity", "error")),
        summary=str(found.get("summary", "")),
        detail=str(found.get("detail", "")),
        where=_where(found),
        address=str(found.get("address", "")),
    )


def error_of(environment: str, command: str, messages: Sequence[Message], last_line: str) -> FinalError:
    """Make the error of a command that failed.

    :param environment: the environment's name.
    :param command: what was run, for example `terraform plan`.
    :param messages: what it said.
    :param last_line: its last line of output, for when it said nothing else.
    """
    found = [diagnostic for message in messages if (diagnostic := diagnostic_of(message))]
    errors = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    for diagnostic in errors:
        if diagnostic.summary == LOCKED:
            return _locked(environment, diagnostic)
        if diagnostic.summary == STALE:
            return StalePlanError(
                f"{environment}: the saved plan is stale, the state was changed after it was made; "
                "start a new run, which makes a new one"
            )
    if not errors:
        return PlanError(
            f"{environment}: {command} failed: {last_line or 'it said nothing'}; see the task's log"
        )
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    there = next((error for error in errors if _EXISTS.search(error.detail + error.summary)), None)
    if there and command.endswith(" apply"):
        return PlanError(
            f"{environment}: {command} failed: {there.line()}{more}; if an apply that was killed made it, "
            f"`terraform import` it as {there.address or 'its address'} or delete it, then start a new run"
        )
    return PlanError(f"{environment}: {command} failed: {errors[0].line()}{more}; see the task's log")


def _locked(environment: str, diagnostic: Diagnostic) -> LockedError:
    """Say who holds the lock; if Terraform does not know it, its own words are all there is."""
    lock = dict(_LOCK_FIELD.findall(diagnostic.detail))
    if "ID" not in lock:
        return LockedError(f"{environment}: {diagnostic.line()}; look whether another run is going on")
    return LockedError(
        f"{environment}: the Terraform state is locked by {lock.get('Who', 'somebody unknown')} since "
        f"{lock.get('Created', 'an unknown time')} ({lock.get('Operation', 'unknown operation')}, lock "
        f"{lock['ID']}); wait until that run ends, or, if it is surely dead, run "
        f"`terraform force-unlock {lock['ID']}` in the environment's folder"
    )


def _where(diagnostic: dict[str, Any]) -> str:
    address = str(diagnostic.get("address", ""))
    span = diagnostic.get("range")
    if not isinstance(span, dict):
        return address
    place = f"{span.get('filename')}:{span.get('start', {}).get('line')}"
    return f"{address}, {place}" if address else place
