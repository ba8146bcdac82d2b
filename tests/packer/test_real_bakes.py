"""Three layers baked by the real Packer and Ansible: every file they open is looked at.

All of packer/ lies where they work, not only what a bake is given otherwise: so a file that is no input of a
layer could be opened, and is seen if it is. The vaults are encrypted anew, with secrets that exist nowhere
else.
"""

from __future__ import annotations

import os
import re
import secrets as random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import BakeHeldUpError
from bakeroll.core.layers import packer as packer_module
from bakeroll.core.layers.bakery import Bakery, Place
from bakeroll.core.layers.inputs import LAYERS, trace
from demo import repository
from sandbox.client import Client
from tests import strace, vaults
from tests.real_account import REGION, Sandbox, require_real_machines, wait
from tests.secrets_watch import Secrets
from tests.secrets_written import in_account, in_bucket, in_folder, in_text

pytestmark = [pytest.mark.real_machines, pytest.mark.packer, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "bakeroll-real-bakes"
EXAMPLE_PASSWORD = "sandbox-vault-password"
UNIT = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
# What lies around on a worker and is no input of a layer: with the first of these, every play would fail.
HOME_FILES = {
    ".ansible.cfg": "[defaults]\nroles_path = /nowhere\n",
    ".ansible/roles/base/tasks/main.yml": "- ansible.builtin.fail:\n",
    ".ansible/plugins/modules/stat.py": "raise SystemExit('not this one')\n",
    ".ansible/plugins/filter/words.py": "raise SystemExit('not this one')\n",
    ".ansible/plugins/callback/words.py": "raise SystemExit('not this one')\n",
    ".ansible/collections/ansible_collections/a/b/galaxy.yml": "namespace: a\nname: b\nversion: 1.0.0\n",
}


@dataclass
class Bakes:
    """What was seen of the three bakes, and where they took place."""

    folder: Path
    sandbox: Sandbox
    values: Mapping[str, str]
    account: dict[str, str]
    packer_dir: Path
    home: Path
    temporary: Path
    address: str
    traces: dict[str, strace.Trace] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    source_ami: str = ""

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.values)

    def inputs(self, layer: str) -> set[str]:
        return {file.path for file in trace(self.packer_dir, layer, "development").files}

    def opened(self, layer: str) -> set[str]:
        """Name the files of packer/ that were opened, by their place in it."""
        below = re.compile(rf"{re.escape(str(self.temporary))}/bakeroll-bake-[^/]+/packer/(.+)")
        names = {found[1] for path in self.traces[layer].opened if (found := below.match(str(path)))}
        return {name for name in names if (self.packer_dir / name).is_file()}

    def files_of_home(self) -> set[str]:
        return {str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def serve_application(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Serve a repository with as little as the application layer asks for."""
    working = folder / "web.git"
    (working / "systemd").mkdir(parents=True)
    (working / "requirements.txt").touch()
    for unit in ("web", "fluentd"):
        (working / "systemd" / f"{unit}.service").write_text(UNIT)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(working)], check=True)
    repository.commit_version(working, 1)
    port = free_port()
    command = repository.daemon_command(folder, address="127.0.0.1", port=port)
    daemon = subprocess.Popen(command)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait(answers)
    return daemon, f"git://127.0.0.1:{port}/web.git"


def everything(_inputs: object, source: Path, target: Path) -> None:
    """Give a bake all of packer/, not only its layer's inputs."""
    shutil.copytree(source, target, dirs_exist_ok=True)


def bakery(bakes: Bakes, path: str) -> Bakery:
    facts: dict[str, Any] = {
        "region": REGION, "account_id": "123456789012", "state_bucket": BUCKET,
        "source_ami": {"owners": ["136693071363"], "name": "debian-12-*"},
        "application": {"repository": bakes.address}, "terraform": {"root": "x"}, "fleets": {"web": {}},
    }  # fmt: skip
    elsewhere = str(bakes.folder / "elsewhere")
    worker = {
        "PATH": f"{path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(bakes.home),
        "BAKEROLL_CACHE": str(bakes.folder / "cache"),
        "ANSIBLE_CONFIG": f"{elsewhere}/ansible.cfg",
        "ANSIBLE_ROLES_PATH": elsewhere,
        "ANSIBLE_LIBRARY": elsewhere,
        "ANSIBLE_VAULT_PASSWORD_FILE": f"{elsewhere}/password",
    }
    return Bakery(
        "development",
        Environment.model_validate(facts),
        clients=Clients(bakes.sandbox.client),
        place=Place(
            bakes.packer_dir,
            custom_endpoint_ec2=bakes.sandbox.endpoint_url,
            worker_env=worker,
            poll_seconds=0.5,
        ),
        say=bakes.said.append,
    )


@pytest.fixture(scope="module")
def bakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bakes]:
    require_real_machines("packer", "strace", "git")
    folder = tmp_path_factory.mktemp("real-bakes")
    account = {
        "AWS_ACCESS_KEY_ID": f"AKIA{random.token_hex(8).upper()}",
        "AWS_SECRET_ACCESS_KEY": random.token_hex(20),
        "AWS_SESSION_TOKEN": random.token_hex(40),
        "AWS_REGION": REGION,
    }
    values = {
        "vault password": random.token_hex(16),
        "AWS secret key": account["AWS_SECRET_ACCESS_KEY"],
        "AWS session token": account["AWS_SESSION_TOKEN"],
    }
    packer_dir, home, temporary = folder / "packer", folder / "home", folder / "tmp"
    temporary.mkdir()
    shutil.copytree(ROOT / "packer", packer_dir, ignore=shutil.ignore_patterns(".galaxy"))
    values |= vaults.renew(packer_dir / "provisioners", EXAMPLE_PASSWORD, values["vault password"])
    configuration = packer_dir / "provisioners/ansible.cfg"
    # A person who looks for an error makes Ansible say all it can: secrets must not be in it even then.
    loud = configuration.read_text().replace("[defaults]\n", "[defaults]\nverbosity = 3\n")
    configuration.write_text(f"{loud}\n[diff]\nalways = True\n")
    for name, text in HOME_FILES.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    sandbox = Sandbox(
        folder / "state",
        access_key=account["AWS_ACCESS_KEY_ID"],
        secret_key=account["AWS_SECRET_ACCESS_KEY"],
    )
    daemon, address = serve_application(folder / "repositories")
    made = Bakes(folder, sandbox, values, account, packer_dir, home, temporary, address)
    try:
        sandbox.command("up")
        _bake_all(made)
        yield made
    finally:
        daemon.kill()
        daemon.wait()
        sandbox.command("down")


def _bake_all(bakes: Bakes) -> None:
    constraint = {"LocationConstraint": REGION}
    bakes.sandbox.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=constraint)
    traces = bakes.folder / "traces"
    making = bakery(bakes, str(strace.wrap("packer", traces)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packer_module, "stage", everything)
        patch.setattr(tempfile, "tempdir", str(bakes.temporary))
        decisions = making.decide()
        bakes.source_ami = str(decisions.source_ami)
        baked: dict[str, str] = {}
        for layer in LAYERS:
            parent = decisions.parent_of(layer, baked)
            baked[layer] = making.bake(
                layer,
                parent,
                commit=decisions.commit,
                credentials=bakes.account,
                vault_password=bakes.values["vault password"],
            ).image_id
            bakes.traces[layer] = strace.take(traces)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_file_that_a_bake_opens_is_an_input(bakes: Bakes, layer: str) -> None:
    opened, inputs = bakes.opened(layer), bakes.inputs(layer)
    assert opened - inputs == set()
    # And all inputs are opened; the plugins' versions are read by Packer 1.7 and later only.
    assert inputs - opened <= {"plugins.pkr.hcl"}


@pytest.mark.parametrize("layer", LAYERS)
def test_nothing_of_the_worker_gets_in(bakes: Bakes, layer: str) -> None:
    seen = bakes.traces[layer]
    environment = Path(sys.prefix)
    refused = [bakes.home, bakes.folder / "elsewhere", bakes.packer_dir, ROOT]
    refused += [Path("/etc/ansible"), Path("/usr/share/ansible")]
    within = [
        path
        for path in seen.opened
        if not path.is_relative_to(environment)
        and not path.is_dir()
        and any(path.is_relative_to(each) for each in refused)
    ]
    assert within == []
    playbooks = [each for each in seen.started if each.program.endswith("/ansible-playbook")]
    assert playbooks
    assert [each for each in playbooks if "/elsewhere" in " ".join(each.environment)] == []


def test_the_secrets_got_into_the_images_and_nowhere_else(bakes: Bakes) -> None:
    written = bakes.sandbox.folder.rglob("images/*/layer/etc/fluentd/secrets.env")
    values = {path.read_text() for path in written}
    key = bakes.values["application_base: vault_application_base_forwarder_shared_key"]
    assert values == {f'FLUENTD_SHARED_KEY="{key}"\n'}
    assert len(bakes.said) > 100
    assert in_text(bakes.secrets, "log", bakes.said) == []
    assert in_bucket(bakes.secrets, bakes.sandbox.client("s3"), BUCKET) == []
    assert in_account(bakes.secrets, bakes.sandbox.client) == []


def test_a_bake_that_aws_throttles_may_be_tried_again(bakes: Bakes) -> None:
    """Packer never tries again to see whether the image's name is free."""
    packers = {**bakes.account, "AWS_ACCESS_KEY_ID": "AKIAPACKER0000000000"}
    Client(bakes.sandbox.port).set_fault(
        fault="throttle", action="ec2:DescribeImages", count=1, principal=packers["AWS_ACCESS_KEY_ID"]
    )
    making = bakery(bakes, os.environ["PATH"])
    number = making.decide(rebuild="base").of("base").from_number
    with pytest.raises(BakeHeldUpError, match=r"RequestLimitExceeded.*the bake is tried again"):
        making.bake(
            "base", bakes.source_ami, commit=None, from_number=number, credentials=packers, vault_password="x"
        )
    ec2 = bakes.sandbox.client("ec2")
    assert ec2.describe_key_pairs()["KeyPairs"] == []


def test_nothing_is_left_behind(bakes: Bakes) -> None:
    assert list(bakes.temporary.iterdir()) == []
    assert bakes.files_of_home() == set(HOME_FILES)
    assert in_folder(bakes.secrets, bakes.home) == []
