"""Which files a tool opened and what it started, by strace."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

_WRAPPER = """\
#!/bin/sh
# Asking for the version is no bake.
case "$1" in version) exec {program} "$@" ;; esac
exec {strace} -f -qq -y -v -s 65536 --seccomp-bpf -e trace=open,openat,openat2,execve \\
  -e signal=none -o {folder}/trace.$$ {program} "$@"
"""
# `-y` gives each descriptor with the path that the kernel opened: relative names and links are resolved.
_OPENED = re.compile(r"^\d+ +(?:<\.\.\. )?open(?:at2?)?\b.* = \d+<(/[^>]*)>$")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_LIST = rf"\[((?:{_TEXT}(?:, )?)*)\]"
_STARTED = re.compile(rf"^\d+ +execve\(({_TEXT}), {_LIST}, {_LIST}")


@dataclass(frozen=True)
class Start:
    """One start of a program.

    :param arguments: all of them.
    :param environment: all of it, as ``name=value``.
    """

    program: str
    arguments: tuple[str, ...]
    environment: tuple[str, ...]


@dataclass(frozen=True)
class Trace:
    """What was seen of one tool and of all it started.

    :param opened: every file that was opened, as the kernel names it.
    :param started: every program start, also those that failed as the program is not in that folder of PATH.
    """

    opened: frozenset[Path]
    started: tuple[Start, ...]


def wrap(tool: str, folder: Path) -> Path:
    """Make a program of the tool's name that runs it under strace.

    :param folder: made; programs and traces are put there.
    :return: the folder to put first on PATH.
    """
    program, strace = shutil.which(tool), shutil.which("strace")
    assert program, f"{tool} is not on PATH"
    assert strace, "strace is not on PATH"
    programs = folder / "programs"
    programs.mkdir(parents=True)
    wrapper = programs / tool
    wrapper.write_text(_WRAPPER.format(program=program, strace=strace, folder=folder))
    wrapper.chmod(0o755)
    return programs


def take(folder: Path) -> Trace:
    """Read the traces that :func:`wrap` wrote, and remove them."""
    files = list(folder.glob("trace.*"))
    assert files, f"nothing was traced in {folder}"
    opened: set[Path] = set()
    started: list[Start] = []
    for file in files:
        for line in file.read_text(errors="replace").splitlines():
            if found := _OPENED.match(line):
                opened.add(Path(found[1].removesuffix(" (deleted)")))
            elif " execve" in line and "resumed>" not in line:
                started.append(_start(line))
        file.unlink()
    return Trace(frozenset(opened), tuple(started))


def _start(line: str) -> Start:
    found = _STARTED.match(line)
    assert found, f"strace wrote a line of another form: {line[:200]}"
    program, arguments, environment = (
        tuple(text[1:-1] for text in re.findall(_TEXT, part)) for part in found.groups()
    )
    return Start(program[0], arguments, environment)
