"""The checks themselves: what they look at, and that a failure is not lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import check


def test_every_terraform_root_is_validated() -> None:
    roots = {str(each.relative_to(check.ROOT)) for each in check.terraform_roots()}
    assert {"terraform", "terraform/bootstrap", "terraform/environments/development"} <= roots


def test_a_commands_output_is_its_problem() -> None:
    assert check.run([sys.executable, "-c", "print('fine')"]) == ""
    assert check.run([sys.executable, "-c", "raise SystemExit('broken')"]) == "broken"
    assert check.run([sys.executable, "-c", "raise SystemExit(3)"]) == "status 3"
    assert check.run(["no-such-program"]) == "no-such-program is not on PATH"


@pytest.mark.parametrize(
    "line", ["--index-url https://pypi.example.com/simple", "a @ https://example.com/a.whl", "-i x"]
)
def test_a_registry_in_a_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "x.lock").write_text(f"a==1\n{line}\n")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    assert check.registry_hosts() == f"requirements/x.lock:2: {line}"


def test_the_locks_name_none() -> None:
    assert check.registry_hosts() == ""


def test_all_checks_run_although_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "checks", lambda _: [("one", lambda: "its problem"), ("two", str)])
    assert check.main() == 1
    said = capsys.readouterr().out
    assert "its problem" in said
    assert "✓ two" in said
    assert said.endswith("failed: one\n")
