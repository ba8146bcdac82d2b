"""A process is named once and for ever, and seen to have ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import pytest

from bakeroll.core import identity
from bakeroll.core.identity import Process

# Other clones may run the same test on this machine.
VALUE = uuid.uuid4().hex
MARKER = f"BAKEROLL_TEST={VALUE}"
WAITS = "import sys; print('ready', flush=True); sys.stdin.read()"


@pytest.fixture
def child():
    started = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        env={**os.environ, "BAKEROLL_TEST": VALUE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == b"ready\n"
    yield started
    started.kill()
    started.communicate()


def eventually(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_this_process_lives_and_can_be_written_down():
    this = Process.this()
    assert this.visible()
    assert this.alive()
    assert Process.from_dict(this.as_dict()) == this
    assert this.pid == os.getpid()


def test_a_pid_that_is_used_again_is_another_process():
    assert not replace(Process.this(), started=1).alive()


@pytest.mark.parametrize("part", ["boot", "pid_namespace"])
def test_what_is_elsewhere_cannot_be_seen(part):
    assert not replace(Process.this(), **{part: "another"}).visible()


def test_one_that_ended_is_not_alive_though_nobody_asked_how(child):
    assert identity.alive(child.pid)
    assert identity.group_members(child.pid) == [child.pid]
    child.kill()
    eventually(lambda: not identity.alive(child.pid))  # a zombie until it is waited for
    assert identity.group_members(child.pid) == []


def test_what_carries_a_marker_is_found_and_ended(child):
    assert list(identity.marked(MARKER)) == [child.pid]
    assert identity.marked(MARKER[:-1]) == {}
    identity.end_marked(MARKER)
    eventually(lambda: identity.marked(MARKER) == {})
