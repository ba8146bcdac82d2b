"""What every layer does first and last, and the SSM agent, on a machine like Debian's on EC2."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

PROVISIONERS = Path(__file__).resolve().parents[3] / "packer" / "provisioners"

PLAYBOOK = f"""\
- hosts: all
  become: true
  gather_facts: false
  pre_tasks:
    - ansible.builtin.import_tasks: {PROVISIONERS}/tasks/begin.yml
  tasks:
    - ansible.builtin.import_role:
        name: base
        tasks_from: ssm_agent
  post_tasks:
    - ansible.builtin.import_tasks: {PROVISIONERS}/tasks/finish.yml
"""

# Debian's AMIs ship cloud-init and no agent. This cloud-init has done its work, with warnings.
LIKE_DEBIAN = """\
systemctl disable --now amazon-ssm-agent.service
rm /lib/systemd/system/amazon-ssm-agent.service
cat > /usr/bin/cloud-init <<'SCRIPT'
#!/bin/sh
echo "$*" >> /root/cloud-init-calls
[ "$1" = status ] && exit 2
exit 0
SCRIPT
chmod 755 /usr/bin/cloud-init
mkdir -p /var/lib/dbus
cp /etc/machine-id /var/lib/dbus/machine-id
"""

UNIT = """\
[Service]
ExecStart=/usr/bin/flock --no-fork /run/amazon-ssm-agent.lock /bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Build a package that brings a unit of the agent's name."""
    tree = tmp_path / "tree"
    unit = tree / "lib/systemd/system/amazon-ssm-agent.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(UNIT)
    control = tree / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        "Package: amazon-ssm-agent\nVersion: 3.3\nArchitecture: all\nMaintainer: me\nDescription: a test\n"
    )
    served = tmp_path / "served"
    served.mkdir()
    file = served / "amazon-ssm-agent.deb"
    subprocess.run(["dpkg-deb", "--build", str(tree), str(file)], check=True, capture_output=True)
    return file


@pytest.fixture
def mirror(package: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Serve the package over HTTPS and give the address and the certificate to trust."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=mirror",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(package.parent)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/{package.name}", certificate.read_text()
    server.shutdown()
    server.server_close()


def ansible(machines: Any, spec: Any, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = shutil.which("ansible-playbook", path=path)
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("ansible-playbook is missing")
    if program is None:
        pytest.skip("ansible-playbook is missing")
    (folder / "playbook.yml").write_text(PLAYBOOK)
    extra = [part for name, value in variables.items() for part in ("-e", f"{name}={value}")]
    return subprocess.run(
        [program, "-i", f"{spec.private_ip},", *extra, "playbook.yml"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(PROVISIONERS / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_ROLES_PATH": str(PROVISIONERS / "roles"),
            "ANSIBLE_REMOTE_USER": "admin",
            "ANSIBLE_PRIVATE_KEY_FILE": str(machines.private_key),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_layer_on_an_image_like_debians(
    machines: Any, package: Path, mirror: tuple[str, str], tmp_path: Path
) -> None:
    address, certificate = mirror
    spec = machines.boot()
    trust = f"""\
cat > /usr/local/share/ca-certificates/mirror.crt <<'PEM'
{certificate}PEM
update-ca-certificates
"""
    machines.read(spec, LIKE_DEBIAN + trust)
    assert not machines.hypervisor.agent_online(spec.instance_id)

    refused = ansible(machines, spec, tmp_path)
    assert refused.returncode != 0
    assert "set BUILD_REGION" in refused.stdout
    wrong = ansible(
        machines, spec, tmp_path, base_ssm_agent_url=address, base_ssm_agent_checksum="sha256:" + "0" * 64
    )
    assert "did not match" in wrong.stdout

    checksum = f"sha256:{hashlib.sha256(package.read_bytes()).hexdigest()}"
    done = ansible(machines, spec, tmp_path, base_ssm_agent_url=address, base_ssm_agent_checksum=checksum)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = machines.read(spec, "cat /root/cloud-init-calls").splitlines()
    assert calls == ["status --wait", "status --wait", "status --wait", "clean --logs"]
    machines.read(
        spec, "test ! -s /etc/machine-id; test ! -e /var/lib/dbus/machine-id; test -e /etc/machine-id"
    )

    again = ansible(machines, spec, tmp_path)  # the next layer on the same machine: no wait, no download
    assert again.returncode == 0, again.stdout + again.stderr
    assert machines.read(spec, "cat /root/cloud-init-calls").splitlines()[4:] == ["clean --logs"]

    machines.stop(spec)
    machines.image(spec, "ami-agent")
    machines.terminate(spec)
    launched = machines.boot("ami-agent")
    assert machines.hypervisor.agent_online(launched.instance_id)
    assert len(machines.read(launched, "cat /etc/machine-id")) == 33
    machines.terminate(launched)
    machines.hypervisor.delete_image("ami-agent")
