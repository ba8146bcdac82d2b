"""Terraform modules from an organisation's private git repositories."""

from __future__ import annotations

import io
import secrets
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from bakeroll.core.errors import PlanError
from bakeroll.core.git import Access
from bakeroll.core.terraform import State, Terraform
from tests.git_servers import HttpsGit, Repository, SshGit, serving
from tests.terraform_support import REGION, moto_cloud, require_terraform

pytestmark = pytest.mark.terraform

CONFIGURATION = """
terraform {{
  backend "s3" {{
    encrypt      = true
    use_lockfile = true
  }}
}}
module "by_token" {{
  source = "git::{https}//parts/greeting?ref=v1"
}}
module "by_key" {{
  source = "git::{ssh}//parts/greeting?ref=v1"
}}
output "said" {{ value = "${{module.by_token.said}} ${{module.by_key.said}}" }}
"""


def test_modules_by_token_and_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_terraform()
    temporary, root, token = tmp_path / "tmp", tmp_path / "checkout/root", secrets.token_hex(20)
    temporary.mkdir()
    root.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    modules = Repository(tmp_path / "served/modules.git")
    modules.commit({"parts/greeting/main.tf": 'output "said" { value = "hello" }\n'})
    modules.git("tag", "v1")
    https, ssh = HttpsGit(tmp_path / "served", tmp_path, token), SshGit(tmp_path)
    text = CONFIGURATION.format(https=https.url("modules.git"), ssh=ssh.url(modules.path))
    (root / "main.tf").write_text(text)
    by_token = Access(https.host, "git_token", token=token, certificates=https.tls.authority)
    by_key = Access(ssh.host, "git_key", private_key=ssh.key, known_hosts=ssh.known_hosts)
    lines: list[str] = []
    with moto_cloud() as cloud, serving(https), serving(ssh.server):
        cloud.make_bucket("state")

        def terraform(*git: Access) -> Terraform:
            return Terraform(
                environment="test",
                root=root,
                state=State("state", "x", REGION),
                s3=cloud.client("s3"),
                aws=cloud.aws,
                on_line=lines.append,
                git=git,
            )

        plan = terraform(by_token, by_key).plan("run", {})
        assert plan.outputs == {"said": "hello hello"}
        assert plan.location is not None
        archive = cloud.client("s3").get_object(Bucket="state", Key=plan.location.key)["Body"].read()
        # What was planned is applied, wherever the tag points to by then.
        modules.commit({"parts/greeting/main.tf": 'output "said" { value = "another" }\n'})
        modules.git("tag", "-f", "v1")
        assert terraform(by_token, by_key).apply(plan.location) == {"said": "hello hello"}
        with pytest.raises(PlanError, match=r"Authentication failed|[Ff]ailed to download module"):
            terraform(replace(by_token, token="hunter2"), by_key).plan("run", {})
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        names = packed.getnames()
    assert not [name for name in names if "git" in name or "credential" in name]
    assert b"git-remote-https" in https.seen or b"remote-https" in https.seen
    assert b"terraform" in https.seen
    assert token.encode() not in https.seen + ssh.seen.read_bytes()
    log = "\n".join(lines)
    assert token not in log
    assert "hunter2" not in log
    assert list(temporary.iterdir()) == []
