"""What a task's loop puts into its arguments, as far as the loop is written out."""

from __future__ import annotations

import re
from pathlib import Path

from yaml.nodes import Node

from bakeroll.core.layers.playbooks.nodes import get, items, text_of, texts
from bakeroll.core.layers.playbooks.paths import Scope, templated

_LISTS = ("loop", "with_items", "with_list")


def looped(args: dict[str, list[str]], task: Node, scope: Scope) -> dict[str, list[str]]:
    """Return a task's arguments with ``{{ item }}`` and ``{{ item.key }}`` replaced by what they stand for.

    What is not written out in the task, such as a loop over a variable, stays as it is.

    :param args: as :func:`bakeroll.core.layers.playbooks.nodes.arguments` returns them.
    """
    variable = text_of(get(get(task, "loop_control"), "loop_var")) or "item"
    pattern = re.compile(r"\{\{\s*" + re.escape(variable) + r"(?:\.(\w+))?\s*\}\}")
    globs = texts(get(task, "with_fileglob"))
    values: list[Node | str] = [*items(get(task, *_LISTS)), *_globbed(globs, scope)]
    if not values:
        return args
    return {
        key: [filled for text in given for filled in _filled(text, values, pattern)]
        for key, given in args.items()
    }


def _filled(text: str, values: list[Node | str], pattern: re.Pattern[str]) -> list[str]:
    if pattern.search(text) is None:
        return [text]

    def fill(value: Node | str) -> str:
        def replaced(found: re.Match[str]) -> str:
            if isinstance(value, str):
                return value
            part = text_of(get(value, found[1]) if found[1] else value)
            return found[0] if part is None else part

        return pattern.sub(replaced, text)

    return [fill(value) for value in values]


def _globbed(globs: list[tuple[str, Node]], scope: Scope) -> list[str]:
    found: list[Path] = []
    for name, _ in globs:
        filled = scope.fill_in(name)
        if not templated(filled) and not filled.startswith("/"):
            found += [path for folder in scope.folders("files") for path in sorted(folder.glob(filled))]
    return [str(path) for path in dict.fromkeys(found)]
