"""Tools are run to their end, told to stop in order, and outlive a task that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bakeroll.core import identity
from bakeroll.core.errors import ToolInterruptedError
from bakeroll.core.process import Tool

ENV = {"PATH": os.environ["PATH"]}
CLEANS_UP = """
import signal, sys, time, pathlib
def stop(*_):
    for n in range(200):
        print("cleaning", n, "x" * 1000, flush=True)
    pathlib.Path(sys.argv[1]).write_text("clean")
    sys.exit(3)
signal.signal(signal.SIGINT, stop)
print("ready", flush=True)
time.sleep(60)
"""

STOP_ONCE_THE_TASK_IS_DEAD = """def stop(*_):
    for _ in range(2000):
        if pathlib.Path(sys.argv[2]).exists():
            break
        time.sleep(0.01)"""


def run(script, *arguments, tool=None, on_line=None, **kwargs):
    lines = []
    argv = [sys.executable, "-c", script, *map(str, arguments)]
    status = (tool or Tool()).run(argv, cwd=Path("/"), env=ENV, on_line=on_line or lines.append, **kwargs)
    return status, lines


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_line_comes_and_the_status():
    script = "import sys; print('zwei \\xe4', file=sys.stderr); sys.stdout.write('rest'); sys.exit(7)"
    assert run(script) == (7, ["zwei ä", "rest"])


def test_much_output_comes_whole_and_in_order():
    status, lines = run("for n in range(50000): print(n)")
    assert (status, lines) == (0, [str(n) for n in range(50000)])


def test_a_program_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        Tool().run(["no-such-program"], cwd=Path("/"), env=ENV, on_line=print)


def test_an_interrupt_lets_it_clean_up(tmp_path):
    tool, seen = Tool(), []

    def on_line(line):
        seen.append(line)
        if line == "ready":
            threading.Thread(target=tool.interrupt).start()

    with pytest.raises(ToolInterruptedError, match="ended with status 3"):
        run(CLEANS_UP, tmp_path / "state", tool=tool, on_line=on_line)
    assert (tmp_path / "state").read_text() == "clean"
    assert len(seen) == 201
    with pytest.raises(ToolInterruptedError, match="was not started"):
        run("print()", tool=tool)


def test_one_that_does_not_stop_is_killed():
    tool = Tool(grace_seconds=0.2)
    ignores = (
        "import signal, time; signal.signal(2, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    with pytest.raises(ToolInterruptedError, match="ended with status -9"):
        run(ignores, tool=tool, on_line=lambda _: threading.Thread(target=tool.interrupt).start())


def test_scratch_is_ours_as_long_as_we_live(tmp_path):
    run("print()", scratch=tmp_path)
    assert tmp_path.exists()


def test_a_tool_outlives_a_task_that_was_killed_and_still_cleans_up(tmp_path):
    """As Airflow does it: SIGTERM, on_kill, and SIGKILL before the tool is done."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    slowly = CLEANS_UP.replace("def stop(*_):", STOP_ONCE_THE_TASK_IS_DEAD)
    task = f"""
import os, signal, sys
from pathlib import Path
from bakeroll.core.process import Tool
tool = Tool()
def on_line(line):
    if line == "ready":
        os.kill(tool._child.pid, 0)
        Path({str(tmp_path / "group")!r}).write_text(str(tool._child.pid))
        os.killpg(tool._child.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGKILL)
tool.run([sys.executable, "-c", {slowly!r}, {str(tmp_path / "state")!r}, {str(tmp_path / "dead")!r}],
         cwd=Path("/"), env=dict(os.environ), on_line=on_line, scratch=Path({str(scratch)!r}))
"""
    plugins = Path(__file__).parents[2] / "plugins"
    died = subprocess.run([sys.executable, "-c", task], env={**ENV, "PYTHONPATH": str(plugins)}, check=False)
    assert died.returncode == -signal.SIGKILL
    (tmp_path / "dead").touch()
    eventually((tmp_path / "state").exists)
    eventually(lambda: not scratch.exists())


def test_a_tool_whose_caretaker_is_killed_is_told_to_stop_and_seen_to_end(tmp_path):
    def on_line(line):
        if line == "ready":
            os.kill(tool._child.pid, signal.SIGKILL)

    tool = Tool(grace_seconds=60)
    status, _ = run(CLEANS_UP, tmp_path / "state", tool=tool, on_line=on_line)
    assert status == -signal.SIGKILL
    assert (tmp_path / "state").read_text() == "clean"


def test_what_a_killed_tool_had_started_ends_with_it(tmp_path):
    """Terraform's providers stay for ever otherwise."""
    script = """
import os, signal, subprocess, sys, pathlib
child = subprocess.Popen(["sleep", "600"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    status, _ = run(script, tmp_path / "pid")
    assert status == 128 + signal.SIGKILL
    pid = int((tmp_path / "pid").read_text())
    eventually(lambda: not identity.alive(pid))


def test_commands_are_run_afterwards_only_if_nobody_is_left(tmp_path):
    afterwards = [["touch", str(tmp_path / "after")]]
    run("print()", afterwards=afterwards)
    assert not (tmp_path / "after").exists()
    task = f"""
import os, signal
from pathlib import Path
from bakeroll.core.process import Tool
until_we_are_dead = f"echo ready; while kill -0 {{os.getpid()}}; do sleep 0.05; done"
Tool().run(["sh", "-c", until_we_are_dead], cwd=Path("/"), env=dict(os.environ),
           on_line=lambda _: os.kill(os.getpid(), signal.SIGKILL), afterwards={afterwards!r})
"""
    plugins = Path(__file__).parents[2] / "plugins"
    died = subprocess.run([sys.executable, "-c", task], env={**ENV, "PYTHONPATH": str(plugins)}, check=False)
    assert died.returncode == -signal.SIGKILL
    eventually((tmp_path / "after").exists)
