"""Private folders go when their task goes, and those of killed tasks with the next one."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from bakeroll.core.private_folder import private_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_only_this_user_can_look_into_it(temporary: Path) -> None:
    with private_folder("bake") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert list(temporary.iterdir()) == []


def test_it_is_gone_after_an_error(temporary: Path) -> None:
    with pytest.raises(KeyboardInterrupt), private_folder("bake"):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_two_at_once_do_not_disturb_each_other(temporary: Path) -> None:
    with private_folder("bake") as one, private_folder("bake"):
        assert one.exists()
    assert list(temporary.iterdir()) == []


def test_one_that_is_swept_before_it_is_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task begins between the two, and takes it for a dead one's."""
    lock, swept = fcntl.flock, []

    def flock(file: IO[str], how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.extend(temporary.iterdir())
            with private_folder("bake"):
                assert not swept[0].exists()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with private_folder("bake") as folder:
        assert folder.is_dir()
        assert folder not in swept
    assert list(temporary.iterdir()) == []


def test_what_a_killed_worker_left_is_removed_by_the_next(temporary: Path) -> None:
    program = (
        "from bakeroll.core.private_folder import private_folder\n"
        "with private_folder('bake') as path:\n"
        "    print(path, flush=True)\n"
        "    input()\n"
    )
    env = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT / "plugins")}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        left = Path(worker.stdout.readline().strip())
        with private_folder("bake"):
            assert left.exists(), "a living worker keeps its file"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert left.exists()
    with private_folder("bake"):
        assert not left.exists()
