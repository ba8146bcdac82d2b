"""Files of the controller that are named inside expressions: ``lookup('file', ...)``, Jinja's ``include``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Lookups that read a file of the controller, and the folder kind each searches.
LOOKUP_KINDS = {"file": "files", "fileglob": "files", "unvault": "files", "template": "templates"}

_CALL = re.compile(
    r"""\b(?:lookup|query|q)\(\s*(?P<quote>['"])(?:ansible\.builtin\.|ansible\.legacy\.)?"""
    r"""(?P<plugin>file|fileglob|unvault|template)(?P=quote)\s*,\s*(?P<rest>[^)]*)"""
)
_LITERAL = re.compile(r"""(['"])(?P<name>[^'"]*)\1\s*(?:,|$)""")
_KEYED = re.compile(
    r"""\b(?:lookup|query|q)\(\s*['"](?:ansible\.builtin\.)?(?:csvfile|ini)['"][^)]*?\bfile=\s*['"]?([\w./-]+)"""
)
_JINJA = re.compile(r"""\{%[-+]?\s*(?:include|import|extends|from)\s+(?P<rest>.*?)[-+]?%\}""", re.DOTALL)
_JINJA_NAME = re.compile(r"""['"](?P<name>[^'"]+)['"]\s*(?:$|import\b|as\b|with(?:out)?\b|ignore\b)""")
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """A file named in an expression.

    :param name: the literal name, or None if it is an expression itself.
    :param kind: the folder kind it is searched in.
    :param text: the expression as it stands, for messages.
    :param line: lines below the beginning of the text, from 0.
    """

    name: str | None
    kind: str
    text: str
    line: int
    glob: bool = False


def lookups(text: str) -> Iterator[Reference]:
    """Yield the files that lookups in a text read."""
    if "(" not in text:
        return
    for call in _CALL.finditer(text):
        plugin, rest = call["plugin"], call["rest"].strip()
        literal = _LITERAL.match(rest)
        yield Reference(
            literal["name"] if literal else None,
            LOOKUP_KINDS[plugin],
            call[0] + ")",
            text.count("\n", 0, call.start()),
            glob=plugin == "fileglob",
        )
    for call in _KEYED.finditer(text):
        yield Reference(call[1], "files", call[0], text.count("\n", 0, call.start()))


def template_references(text: str) -> Iterator[Reference]:
    """Yield the templates that a Jinja template includes, and the files its lookups read."""
    # Comments become as many blank lines, so that later lines keep their number.
    text = _JINJA_COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
    for statement in _JINJA.finditer(text):
        literal = _JINJA_NAME.match(statement["rest"].strip())
        name = literal["name"] if literal else None
        yield Reference(name, "templates", statement[0], text.count("\n", 0, statement.start()))
    yield from lookups(text)
