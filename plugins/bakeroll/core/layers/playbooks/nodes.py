"""Ansible's YAML as nodes that know their line, whatever tags stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bakeroll.core.errors import InputError

# libyaml composes some ten times faster; wheels of PyYAML carry it, some distributions do not.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A word of "key=value" text: templates and quotes may hold spaces.
_WORD = re.compile(r"""(?:\{\{.*?\}\}|"[^"]*"|'[^']*'|\S)+""")
_OWN_NAMES = ("ansible.builtin.", "ansible.legacy.")


def compose(path: Path, shown: str) -> Node | None:
    """Read a YAML file without constructing anything, so that ``!vault`` and ``!unsafe`` do not matter.

    :param shown: the file's name in messages.
    :return: None for an empty file.
    :raises InputError: if it is no YAML, naming the line.
    """
    try:
        node: Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{shown}:{line}: not YAML: {error.problem}; correct it") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{shown}:1: not YAML: {error}; correct it") from error
    return node


def line_of(node: Node) -> int:
    """Return the line a node begins on, counted from 1."""
    return int(node.start_mark.line) + 1


def text_of(node: Node | None) -> str | None:
    """Return the text of a scalar, None for anything else and for null."""
    if isinstance(node, ScalarNode) and node.tag != "tag:yaml.org,2002:null":
        return str(node.value)
    return None


def pairs(node: Node | None) -> Iterator[tuple[str, Node]]:
    """Yield key and value of a mapping, merged ones (``<<``) included; nothing for anything else."""
    if not isinstance(node, MappingNode):
        return
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.tag == "tag:yaml.org,2002:merge":
            for merged in items(value) or [value]:
                yield from pairs(merged)
        elif isinstance(key, ScalarNode):
            yield str(key.value), value


def get(node: Node | None, *keys: str) -> Node | None:
    """Return the value of the first of the keys that a mapping has."""
    found = dict(reversed(list(pairs(node))))  # the first of equal keys wins, as own keys beat merged ones
    return next((found[key] for key in keys if key in found), None)


def items(node: Node | None) -> list[Node]:
    """Return the entries of a sequence; nothing for anything else."""
    return list(node.value) if isinstance(node, SequenceNode) else []


def texts(node: Node | None) -> list[tuple[str, Node]]:
    """Return the text of a scalar, or of each scalar in a sequence, with its node."""
    candidates = items(node) if isinstance(node, SequenceNode) else [node]
    return [
        (text, entry) for entry in candidates if entry is not None and (text := text_of(entry)) is not None
    ]


def all_texts(node: Node | None) -> Iterator[tuple[str, int]]:
    """Yield every scalar below a node with its line."""
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, ScalarNode):
            yield str(current.value), line_of(current)
        elif isinstance(current, SequenceNode):
            waiting.extend(current.value)
        elif isinstance(current, MappingNode):
            waiting.extend(part for pair in current.value for part in pair)


def short_name(module: str) -> str:
    """Return a module's name without Ansible's own collection: ``ansible.builtin.copy`` is ``copy``."""
    for prefix in _OWN_NAMES:
        if module.startswith(prefix):
            return module.removeprefix(prefix)
    return module


def arguments(value: Node, extra: Node | None = None) -> dict[str, list[str]]:
    """Return a task's arguments from any of their spellings.

    A mapping, ``key=value`` text, free text (kept under ``""``), and the task's ``args`` all end in
    lists of texts, as some arguments may be either one or several.
    """
    found: dict[str, list[str]] = {}
    text = text_of(value)
    for word in _WORD.findall(text) if text is not None else ():
        key, equals, rest = word.partition("=")
        if equals and key.isidentifier():
            found[key] = [_unquoted(rest)]
        else:
            found.setdefault("", []).append(_unquoted(word))
    for mapping in (value, extra):
        for key, node in pairs(mapping):
            found[key] = [entry for entry, _ in texts(node)]
    return found


def _unquoted(word: str) -> str:
    quoted = len(word) >= 2 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if quoted else word
