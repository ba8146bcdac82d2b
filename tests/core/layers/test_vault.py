from __future__ import annotations

import stat
import tempfile
from pathlib import Path

import pytest

from bakeroll.core.layers.vault import write_password
from bakeroll.core.private_folder import private_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_only_this_user_can_read_it(temporary: Path) -> None:
    with private_folder("bake") as folder:
        path = write_password(folder, "secret")
        assert path.read_text() == "secret\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(temporary.iterdir()) == []
