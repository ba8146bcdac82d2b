"""Whose the state folder is, and the commands' one-line refusals."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from sandbox import __main__ as command
from sandbox import state
from sandbox.settings import Settings


def settings(folder: Path, port: int = 4566) -> Settings:
    return Settings.from_environment({"BAKEROLL_SANDBOX_PORT": str(port)}, state_dir=folder)


def test_a_living_server_keeps_its_folder(tmp_path: Path) -> None:
    state.claim(tmp_path, 4566)
    with pytest.raises(state.StateError, match=f"process {os.getpid()}, port 4566"):
        state.claim(tmp_path, 4567)
    state.release(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_server_is_told_from_another_process_with_its_number(tmp_path: Path) -> None:
    (tmp_path / state.MARKER).write_text(json.dumps({"pid": os.getpid(), "started": "1", "port": 4566}))
    with pytest.raises(state.StateError, match="the state of a killed server; `make down` removes it"):
        state.require_unused(tmp_path)


def test_what_a_killed_server_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    (folder / "machines").mkdir(parents=True)
    (folder / state.MARKER).write_text(json.dumps({"pid": os.getpid(), "started": "1", "port": 4566}))
    said: list[str] = []
    state.remove(folder, said.append)
    assert not folder.exists()
    assert said[-1] == "nothing of it is left"


def test_a_folder_that_is_no_servers_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("")
    said: list[str] = []
    state.remove(tmp_path, said.append)
    assert (tmp_path / "precious").exists()
    assert said == ["no sandbox is there"]


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    read = Settings.from_environment({"XDG_CACHE_HOME": str(tmp_path), "BAKEROLL_SANDBOX_STATE": "/x/y"})
    assert (read.port, read.state_dir, read.cache_dir) == (4566, Path("/x/y"), tmp_path / "bakeroll")
    assert read.endpoint == "http://127.0.0.1:4566"
    with pytest.raises(ValueError, match="BAKEROLL_SANDBOX_PORT is '70000'"):
        Settings.from_environment({"BAKEROLL_SANDBOX_PORT": "70000"})


def test_missing_programs_are_named_with_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(command.UsageError, match="apt-get install haproxy debootstrap openssh-client"):
        command.up(settings(tmp_path))


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from sandbox import server
    from sandbox.wire.http import PortTakenError

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} is taken; set BAKEROLL_SANDBOX_PORT"):
            server.serve(settings(tmp_path, port), lambda _: None)
    assert not (tmp_path / state.MARKER).exists()


def test_status_without_a_server_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["status", "--state-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "sandbox: error: no sandbox is there; `make up` starts one\n"
