from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bakeroll.core.errors import PlanError
from bakeroll.core.terraform import workspace

PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    files = {
        "terraform/environments/test/terraform.tfvars": "",
        "terraform/environments/common.tfvars": "",
        "terraform/environments/common/main.tf": 'module "a" {\n  source = "../../modules/a"\n}\n',
        "terraform/environments/other/main.tf": "",
        "terraform/modules/a/main.tf": 'module "b" {\n  source = "../b/inner"\n}\n',
        "terraform/modules/a/remote.tf": 'module "r" {\n  source = "org/r/aws"\n}\n',
        "terraform/modules/a/files/script.sh": "echo",
        "terraform/modules/b/inner/main.tf": "",
        "terraform/modules/unused/main.tf": "",
        "secret.txt": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = tmp_path / "terraform/environments/test"
    (folder / "main.tf").symlink_to("../common/main.tf")
    (folder / ".terraform").mkdir()
    (folder / "terraform.tfstate").write_text("state")
    return folder


def names(top: Path) -> list[str]:
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


def test_copies_what_the_root_module_reaches_and_nothing_else(root: Path) -> None:
    with workspace.copied(root) as copy:
        assert names(copy.top) == [
            "environments/common.tfvars",
            "environments/test/main.tf",
            "environments/test/terraform.tfvars",
            "modules/a/files/script.sh",
            "modules/a/main.tf",
            "modules/a/remote.tf",
            "modules/b/inner/main.tf",
        ]
        assert not (copy.root / "main.tf").is_symlink()
        assert copy.variable_files() == ["-var-file=../common.tfvars", "-var-file=terraform.tfvars"]
        assert stat.S_IMODE(copy.top.stat().st_mode) == 0o700
        top = copy.top
    assert not top.exists()


def test_a_packed_workspace_is_the_same_elsewhere(root: Path) -> None:
    with workspace.copied(root) as copy:
        (copy.root / ".terraform").mkdir()
        (copy.root / ".terraform" / "provider").write_text("large")
        (copy.root / ".terraform.lock.hcl").write_text("lock")
        expected = [name for name in names(copy.top) if "/.terraform/" not in name]
        archive, where = copy.pack(), str(copy.root.relative_to(copy.top))
    with workspace.unpacked(archive, where) as again:
        assert names(again.top) == expected
        assert (again.root / ".terraform.lock.hcl").read_text() == "lock"


def test_a_missing_module_is_named_with_who_needs_it(root: Path) -> None:
    (root.parents[1] / "modules/b/inner/main.tf").unlink()
    with (
        pytest.raises(PlanError, match=r"modules/b/inner is no Terraform module.*modules/a/main\.tf"),
        workspace.copied(root),
    ):
        pass


def test_what_a_killed_run_left_is_removed_by_the_next_once_its_terraform_has_ended(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    program = (
        "import pathlib, subprocess, sys\n"
        "from bakeroll.core.terraform import workspace\n"
        "with workspace.copied(pathlib.Path(sys.argv[1])) as copy:\n"
        "    (copy.root / 'saved.tfplan').write_text('secret')\n"
        "    tool = subprocess.Popen(['sleep', '60'], cwd=copy.root, stdout=subprocess.DEVNULL)\n"
        "    print(copy.root, tool.pid, flush=True)\n"
        "    input()\n"
    )
    env = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(PLUGINS)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        where, pid = worker.stdout.readline().split()
        plan = Path(where) / "saved.tfplan"
        with workspace.copied(root):
            assert plan.exists(), "a living run keeps its folder"
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    with workspace.copied(root):
        assert plan.exists(), "Terraform itself still runs there"
    os.kill(int(pid), signal.SIGKILL)
    wait_until_gone(int(pid))
    with workspace.copied(root):
        assert not plan.exists()
    assert list(temporary.iterdir()) == []


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            return  # a zombie that nobody reaps yet has none either
        time.sleep(0.01)
    pytest.fail(f"process {pid} does not end")
