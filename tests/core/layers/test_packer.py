"""Packer is replaced by a script that behaves as Packer does; the real one is in tests/packer."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bakeroll.core.errors import BakeError, BakeHeldUpError, InputError, ToolInterruptedError
from bakeroll.core.layers.inputs import trace
from bakeroll.core.layers.packer import Order, commands, run_packer, tool_environment
from bakeroll.core.layers.staging import stage
from bakeroll.core.process import Tool

REGION = "ap-northeast-1"
PASSWORD = "correct horse"
# Notes all it is given in $HOME, then does what $HOME/then says.
SCRIPT = """\
#!/usr/bin/env python3
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HOME"])
file = next(argument for argument in sys.argv if argument.endswith(".json")).partition("=")[2]
values = json.loads(pathlib.Path(file).read_text())
password = pathlib.Path(values["vault_password_file"])
(home / "seen.json").write_text(json.dumps({
    "argv": sys.argv, "env": dict(os.environ), "values": values, "password": password.read_text(),
    "mode": oct(password.stat().st_mode & 0o777),
    "files": sorted(str(p) for p in pathlib.Path(".").rglob("*") if p.is_file()),
}))
exec((home / "then").read_text())
"""
SUCCESS = """
pathlib.Path(values["manifest"]).write_text(json.dumps({"last_run_uuid": "r", "builds": [
    {"packer_run_uuid": "r", "artifact_id": "ap-northeast-1:ami-1"}]}))
print("==> amazon-ebs.layer: done")
"""
FAILURE = """
print("    amazon-ebs.layer: TASK [base : Install] ***")
print('    amazon-ebs.layer: fatal: [default]: FAILED! => {"msg": "no"}')
print("Build 'amazon-ebs.layer' errored: exit status 2")
sys.exit(1)
"""
THROTTLED = """
print("Build 'amazon-ebs.layer' errored: Error querying AMI: RequestLimitExceeded: no.")
print("\\tstatus code: 503, request id: 1")
sys.exit(1)
"""
WAITING = """
import time
print("waiting", flush=True)
try:
    time.sleep(60)
except KeyboardInterrupt:
    (home / "cleaned").write_text("up")
    sys.exit(1)
"""


@pytest.fixture
def packer_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "packer"
    for name, text in {
        "layer.pkr.hcl": "", "plugins.pkr.hcl": "", "variables/common.pkrvars.hcl": "",
        "variables/base.pkrvars.hcl": "", "provisioners/base.yml": "- hosts: all\n", "notes.txt": "no input",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class Run:
    def __init__(self, packer_dir: Path, home: Path) -> None:
        self.packer_dir, self.home, self.tool, self.said = packer_dir, home, Tool(10), list[str]()
        self.application: Path | None = None
        home.mkdir()
        (home / "packer").write_text(SCRIPT)
        (home / "packer").chmod(0o755)
        self.env = {"PATH": f"{home}:{os.environ['PATH']}", "HOME": str(home), "AIRFLOW_SECRET": "x"}

    def __call__(self, then: str) -> str:
        (self.home / "then").write_text(then)
        return run_packer(
            replace(order(self.packer_dir), application=self.application),
            packer_dir=self.packer_dir,
            tool=self.tool,
            credentials={"AWS_ACCESS_KEY_ID": "key"},
            vault_password=PASSWORD,
            say=self.said.append,
            worker_env=self.env,
        )

    @property
    def seen(self) -> dict[str, object]:
        seen: dict[str, object] = json.loads((self.home / "seen.json").read_text())
        return seen


def order(packer_dir: Path) -> Order:
    return Order(
        trace(packer_dir, "base", None), "base-0-0", REGION, {"layer": "base", "tags": {"a": "b"}}, "1.6.6"
    )


@pytest.fixture
def run(packer_dir: Path, tmp_path: Path) -> Run:
    return Run(packer_dir, tmp_path / "home")


def test_the_image_id_comes_from_the_manifest(run: Run, temporary: Path) -> None:
    assert run(SUCCESS) == "ami-1"
    assert run.said == ["done"]
    assert list(temporary.iterdir()) == []


def test_packer_sees_the_inputs_and_nothing_else(run: Run, temporary: Path) -> None:
    run(SUCCESS)
    assert run.seen["files"] == [
        "layer.pkr.hcl",
        "plugins.pkr.hcl",
        "provisioners/ansible.cfg",  # empty, so that the worker's own is not taken
        "provisioners/base.yml",
        "variables/base.pkrvars.hcl",
        "variables/common.pkrvars.hcl",
    ]


def test_the_application_is_handed_over_as_a_file_of_its_own(run: Run, temporary: Path) -> None:
    archive = temporary.parent / "cached.tar.gz"
    archive.write_bytes(b"x")
    run.application = archive
    run("assert pathlib.Path(values['application_archive']).read_bytes() == b'x'\n" + SUCCESS)
    values = run.seen["values"]
    assert isinstance(values, dict)
    assert Path(values["application_archive"]).is_relative_to(temporary)
    assert list(temporary.iterdir()) == []


def test_the_password_is_in_its_file_only(run: Run, temporary: Path) -> None:
    run(SUCCESS)
    seen = run.seen
    assert (seen.pop("password"), seen.pop("mode")) == (PASSWORD + "\n", "0o600")
    assert PASSWORD not in json.dumps(seen)
    assert PASSWORD not in "".join(run.said)


def test_tools_see_only_what_they_need(run: Run, temporary: Path) -> None:
    run(SUCCESS)
    env = run.seen["env"]
    assert isinstance(env, dict)
    assert "AIRFLOW_SECRET" not in env
    assert env["AWS_ACCESS_KEY_ID"] == "key"
    assert env["CHECKPOINT_DISABLE"] == "1"
    assert tool_environment({"https_proxy": "p", "X": "y"}, {})["https_proxy"] == "p"


def test_ansible_has_no_home_but_the_private_folder(run: Run, temporary: Path) -> None:
    """What it leaves there when it is killed, rendered templates among it, goes with the folder."""
    run(
        'left = pathlib.Path(os.environ["ANSIBLE_HOME"]) / "tmp"\n'
        "left.mkdir(parents=True)\n"
        '(left / "rendered").write_text("decrypted")\n' + SUCCESS
    )
    env = run.seen["env"]
    assert isinstance(env, dict)
    assert Path(env["ANSIBLE_HOME"]).is_relative_to(temporary)
    assert env["ANSIBLE_COLLECTIONS_SCAN_SYS_PATH"] == "False"
    assert list(temporary.iterdir()) == []
    assert not (run.home / ".ansible").exists()


def test_a_failure_tells_why(run: Run, temporary: Path) -> None:
    with pytest.raises(BakeError) as caught:
        run(FAILURE)
    assert str(caught.value).startswith(
        "base-0-0: packer build failed with status 1: task 'base : Install': fatal: [default]: FAILED!"
    )
    assert list(temporary.iterdir()) == []


def test_what_aws_could_not_do_is_tried_again(run: Run, temporary: Path) -> None:
    with pytest.raises(BakeHeldUpError) as caught:
        run(THROTTLED)
    assert str(caught.value) == (
        "base-0-0: packer build failed with status 1: Build 'amazon-ebs.layer' errored: Error querying AMI: "
        "RequestLimitExceeded: no; AWS may do it a little later: the bake is tried again"
    )
    assert list(temporary.iterdir()) == []


def test_a_success_without_manifest_is_a_failure(run: Run, temporary: Path) -> None:
    with pytest.raises(BakeError, match="no readable manifest"):
        run("")


def test_an_interrupt_lets_packer_clean_up_and_leaves_no_file(run: Run, temporary: Path) -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 30
        while "waiting" not in run.said and time.monotonic() < deadline:
            time.sleep(0.01)
        run.tool.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(ToolInterruptedError):
        run(WAITING)
    thread.join()
    assert (run.home / "cleaned").read_text() == "up"
    assert list(temporary.iterdir()) == []


def test_a_missing_packer_is_named(run: Run, temporary: Path) -> None:
    run.env["PATH"] = str(run.home)
    (run.home / "packer").unlink()
    with pytest.raises(BakeError, match="packer"):
        run(SUCCESS)


def test_only_newer_packers_are_given_the_plugins(packer_dir: Path) -> None:
    old = commands(order(packer_dir), Path("/v.json"))
    assert old == [
        ["packer", "build", "-color=false", "-var-file=variables/common.pkrvars.hcl",
         "-var-file=variables/base.pkrvars.hcl", "-var-file=/v.json", "layer.pkr.hcl"]
    ]  # fmt: skip
    new = commands(replace(order(packer_dir), packer_version="1.11.2"), Path("/v.json"))
    assert [argv[:2] for argv in new] == [["packer", "init"], ["packer", "build"]]
    assert new[1][-1] == "."


def test_staging_keeps_modes_and_links_and_notices_changes(packer_dir: Path, tmp_path: Path) -> None:
    role = packer_dir / "provisioners/roles/r/files"
    role.mkdir(parents=True)
    (role / "run").write_text("x")
    (role / "run").chmod(0o700)
    (role / "link").symlink_to("run")
    (packer_dir / "provisioners/base.yml").write_text("- hosts: all\n  roles: [r]\n")
    inputs = trace(packer_dir, "base", None)
    stage(inputs, packer_dir, tmp_path / "staged")
    copy = tmp_path / "staged/provisioners/roles/r/files"
    assert (copy / "run").stat().st_mode & 0o777 == 0o755
    assert (copy / "link").readlink() == Path("run")
    (role / "run").write_text("y")
    with pytest.raises(InputError, match="files/run changed while layer base was being prepared"):
        stage(inputs, packer_dir, tmp_path / "again")


def test_what_packer_leaves_in_its_temporary_folder_is_removed(run: Run, temporary: Path) -> None:
    run('(pathlib.Path(os.environ["TMPDIR"]) / "ansible-key1").write_text("private")\n' + SUCCESS)
    assert list(temporary.iterdir()) == []
