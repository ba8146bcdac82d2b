"""What bakes an image: apt and Ansible over real SSH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLAYBOOK = """\
- hosts: all
  become: true
  tasks:
    - ansible.builtin.apt:
        name: tree
        update_cache: true
    - ansible.builtin.copy:
        dest: /etc/systemd/system/hello.service
        mode: "0644"
        content: |
          [Unit]
          Description=Says hello
          [Service]
          ExecStart=/bin/sleep infinity
          [Install]
          WantedBy=multi-user.target
    - ansible.builtin.systemd_service:
        name: hello.service
        enabled: true
        state: started
        daemon_reload: true
    - ansible.builtin.service:
        name: hello
        state: restarted
    - ansible.builtin.command: systemctl is-active hello.service
      changed_when: false
    - ansible.builtin.systemd_service:
        name: hello.service
        state: stopped
    - ansible.builtin.assert:
        that: ansible_facts.service_mgr == 'systemd'
    - ansible.builtin.user:
        name: web
        system: true
    - ansible.builtin.command: whoami
      become_user: web
      changed_when: false
"""


def test_ansible_over_ssh(machines: Any, machine: Any, tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    ansible = shutil.which("ansible-playbook", path=f"{folder}:{os.environ['PATH']}")
    if ansible is None and os.environ.get("CI") == "true":
        pytest.fail("ansible-playbook is missing")
    if ansible is None:
        pytest.skip("ansible-playbook is missing")
    (tmp_path / "playbook.yml").write_text(PLAYBOOK)
    done = subprocess.run(
        [ansible, "-i", f"{machine.private_ip},", "playbook.yml"],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_REMOTE_USER": "admin",
            "ANSIBLE_PRIVATE_KEY_FILE": str(machines.private_key),
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "ANSIBLE_SSH_ARGS": "-o UserKnownHostsFile=/dev/null",
            "ANSIBLE_PIPELINING": "True",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert machines.read(machine, "command -v tree").strip() == "/usr/bin/tree"


def test_packages_are_kept_for_the_next_machine(machines: Any, cache_dir: Path) -> None:
    spec = machines.boot()
    machines.read(
        spec, "apt-get update -qq && apt-get install -qq -y --no-install-recommends daemontools >&2"
    )
    machines.terminate(spec)
    assert list((cache_dir / "packages").glob("daemontools_*.deb"))
    other = machines.boot()
    assert "daemontools_" in machines.read(other, "ls /var/cache/apt/archives")
    machines.terminate(other)
