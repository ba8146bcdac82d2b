"""An error names the thing and the next step: looked for in the text of every one that is raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from bakeroll.core import errors

PACKAGE = Path(errors.__file__).parents[1]
ROLLOUT = PACKAGE / "core" / "rollout"
"""Its errors are put together from what AWS says and from a step's own next step; its tests hold them."""

STEPS = (
    "add|apply|check|choose|clear|correct|delete|deploy|give|indent|install|keep|look|make|mend|move|name|put|remove|"
    "rename|run|save|see|set|start|take|wait|write"
)
STEP = re.compile(rf"(?:[;:,.] |\? )(?:(?:or|and|then|if [^;]+),? )*(?:{STEPS})\b", re.IGNORECASE)
WITHOUT = {
    ("core/config.py", "…"): "test_config.py holds each fault",
    ("core/config.py", "…: …; …"): "ends with the page's name",
    ("core/config.py", "…: expected keys and values, found …; …"): "ends with the page's name",
    ("core/layers/decisions.py", "… (…) is …; …"): "ends with a hint for each state",
}
"""Texts that are put together elsewhere, and why they are right."""


def raised() -> Iterator[tuple[str, int, str, str]]:
    """Find every error of ours that is made: file, line, kind, text; `…` stands for what is filled in."""
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(ROLLOUT):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or not node.args:
                continue
            kind = kinds.get(node.func.id)
            if kind is not None and not issubclass(kind, errors.RetryableError):
                yield str(path.relative_to(PACKAGE)), node.lineno, node.func.id, text_of(node.args[0])


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "…"


def test_every_error_names_the_next_step() -> None:
    found = list(raised())
    assert len(found) > 70
    bad = [
        f"{path}:{line} {kind}: {text}"
        for path, line, kind, text in found
        if (path, text) not in WITHOUT and not STEP.search(text)
    ]
    assert not bad, "\n".join(bad)


def test_no_exception_is_out_of_date() -> None:
    assert set(WITHOUT) <= {(path, text) for path, _, _, text in raised()}
