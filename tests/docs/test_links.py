"""The documents' links to files and headings lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ci", "dags", "docs", "packer", "plugins", "sandbox", "terraform")
LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]:\s+(\S+)$", re.MULTILINE)


def documents() -> list[Path]:
    inside = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md")]
    # what a bake installs there is others'
    return sorted([*ROOT.glob("*.md"), *(file for file in inside if ".galaxy" not in file.parts)])


def headings(file: Path) -> set[str]:
    """Give a document's anchors, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in found}


def broken(file: Path) -> Iterator[str]:
    text = re.sub(r"^    .*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for found in LINK.finditer(text):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (file.parent / name).resolve() if name else file
        if not other.exists():
            yield f"{target}: there is no such file"
        elif anchor and other.suffix == ".md" and anchor not in headings(other):
            yield f"{target}: there is no such heading"


def test_there_are_documents() -> None:
    assert {ROOT / "README.md", ROOT / "docs/architecture.md"} <= set(documents())


@pytest.mark.parametrize("file", documents(), ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    assert list(broken(file)) == []
