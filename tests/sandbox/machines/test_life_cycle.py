"""Boot, stop, start, image, end: what EC2 promises of each."""

from __future__ import annotations

import queue
import re
import threading
import time
from typing import Any

LOGS_ITS_END = """\
mkdir -p /opt
cat > /opt/slow.sh <<'SCRIPT'
#!/bin/sh
trap 'echo "$1" >> /var/log/ends; exit 0' TERM
while :; do sleep 0.05; done
SCRIPT
chmod 755 /opt/slow.sh
for name in first second; do
cat > /etc/systemd/system/$name.service <<UNIT
[Unit]
Description=$name
$([ $name = second ] && echo After=first.service)
[Service]
ExecStart=/opt/slow.sh $name
[Install]
WantedBy=multi-user.target
UNIT
done
systemctl daemon-reload
systemctl enable --now first.service second.service
"""


def test_units_are_stopped_in_order_at_a_stop_and_started_at_the_next_boot(machines: Any) -> None:
    spec = machines.boot()
    machines.read(
        spec, LOGS_ITS_END + "touch /run/old /tmp/old /var/tmp/kept; cat /etc/machine-id > /root/id"
    )
    machines.stop(spec)
    assert not machines.hypervisor.agent_online(spec.instance_id)
    assert machines.run(spec, "true").status != 0
    machines.hypervisor.boot(spec, machines.events)
    machines.events.wait("booted", spec.instance_id, times=2)
    assert machines.read(spec, "cat /var/log/ends").split() == ["second", "first"]
    machines.read(spec, "systemctl is-active first.service second.service; test -e /var/tmp/kept")
    machines.read(spec, "test ! -e /run/old; test ! -e /tmp/old; diff /etc/machine-id /root/id")
    machines.terminate(spec)
    assert not (machines.state_dir / "machines" / spec.instance_id).exists()
    assert "init-loop SIGTERM" in machines.hypervisor.console_output(spec.instance_id)


def test_a_unit_that_does_not_stop_is_killed_in_time(machines: Any) -> None:
    spec = machines.boot()
    machines.read(
        spec,
        "printf '[Service]\\nExecStart=/bin/sh -c \"trap : TERM; while :; do sleep 1; done\"\\n'"
        " > /etc/systemd/system/deaf.service; printf '[Install]\\nWantedBy=multi-user.target\\n'"
        " >> /etc/systemd/system/deaf.service; systemctl enable --now deaf.service",
    )
    began = time.monotonic()
    machines.terminate(spec)
    assert time.monotonic() - began < 40  # killed after 10


def test_an_open_login_does_not_hold_up_a_stop(machines: Any) -> None:
    """Packer's own session, and Ansible's, are open while Packer has the instance stopped."""
    spec = machines.boot()
    login = threading.Thread(target=machines.ssh, args=(spec, "touch /tmp/here; exec sleep 60"))
    login.start()
    machines.read(spec, "while ! test -e /tmp/here; do sleep 0.05; done")
    machines.stop(spec)
    login.join()
    console = machines.hypervisor.console_output(spec.instance_id)
    machines.terminate(spec)
    assert "done kill PID" in console, "sshd has ended"
    assert "Units did not stop" not in console


def test_a_machine_whose_first_process_dies_has_stopped(machines: Any) -> None:
    spec = machines.boot()
    machines.hypervisor.run_command(spec.instance_id, "kill -TERM 1", 10.0, lambda _: None)
    assert "status" in machines.events.wait("stopped", spec.instance_id)
    assert not machines.hypervisor.agent_online(spec.instance_id)
    machines.terminate(spec)


def test_a_crash_gives_units_no_time_and_is_told_of_as_a_stop(machines: Any) -> None:
    spec = machines.boot()
    machines.read(spec, LOGS_ITS_END)
    machines.hypervisor.crash(spec.instance_id)
    machines.events.wait("stopped", spec.instance_id)
    assert not machines.hypervisor.agent_online(spec.instance_id)
    machines.hypervisor.boot(spec, machines.events)
    machines.events.wait("booted", spec.instance_id, times=2)
    assert machines.read(spec, "test ! -e /var/log/ends && echo none").strip() == "none"
    machines.terminate(spec)


def test_user_data_runs_once(machines: Any) -> None:
    spec = machines.boot(user_data="#!/bin/sh\necho ran >> /root/user-data\necho hello from user data\n")
    wait = "for i in $(seq 100); do [ -s /root/user-data ] && exit 0; sleep 0.05; done; exit 1"
    machines.read(spec, wait)
    machines.stop(spec)
    machines.hypervisor.boot(spec, machines.events)
    machines.events.wait("booted", spec.instance_id, times=2)
    assert machines.read(spec, "cat /root/user-data") == "ran\n"
    assert "hello from user data" in machines.hypervisor.console_output(spec.instance_id)
    machines.terminate(spec)


def test_an_unknown_image_fails_and_the_instance_can_be_terminated(machines: Any) -> None:
    spec = machines.spec(image_id="ami-unknown")
    machines.hypervisor.boot(spec, machines.events)
    assert "ami-unknown" in machines.events.wait("failed", spec.instance_id)
    machines.terminate(spec)


def test_a_termination_ends_a_boot_under_way(machines: Any) -> None:
    spec = machines.spec()
    machines.hypervisor.boot(spec, machines.events)
    machines.terminate(spec)
    assert not (machines.state_dir / "machines" / spec.instance_id).exists()


def test_many_boot_at_once(machines: Any) -> None:
    specs = [machines.spec() for _ in range(6)]
    for spec in specs:
        machines.hypervisor.boot(spec, machines.events)
    for spec in specs:
        machines.events.wait("booted", spec.instance_id)
    for spec in specs:
        machines.hypervisor.terminate(spec.instance_id)
    for spec in specs:
        machines.events.wait("terminated", spec.instance_id)


CHANGES = """\
mkdir -p /opt/app/sub /etc/emptied
echo new > /opt/app/file; chmod 640 /opt/app/file; chown admin:adm /opt/app/file
ln -s file /opt/app/link; ln /opt/app/file /opt/app/hard
chmod 1777 /opt/app/sub; chmod u+s /opt/app/hard
python3 -c "import os; os.setxattr('/opt/app/file', 'user.colour', b'blue')"
rm /usr/share/base-files/motd
rm -r /etc/apt/preferences.d /usr/share/bug; mkdir /usr/share/bug; echo only > /usr/share/bug/only
mv /usr/share/base-files /usr/share/moved
cp /bin/true /opt/app/capable
python3 -c "import os; os.setxattr('/opt/app/capable', 'security.capability', \\
bytes.fromhex('0100000200040000000000000000000000000000'))"
mkfifo /opt/app/fifo; touch -d '2001-02-03 04:05:06' /opt/app/sub
"""

LISTING = """\
cd /; find opt etc usr root home var/lib -xdev ! -path etc/hosts ! -path etc/hostname ! -path etc/machine-id \
    ! -path etc/resolv.conf ! -path etc -printf '%p %y %m %u %g %s %l %n %T@\\n' | sort | sha256sum
find opt etc usr -xdev -type f ! -path etc/hosts ! -path etc/hostname ! -path etc/machine-id \
    ! -path etc/resolv.conf -print0 | sort -z | xargs -0 sha256sum | sha256sum
python3 -c "import os; print(os.getxattr('/opt/app/file', 'user.colour'))"
python3 -c "import os; print(os.getxattr('/opt/app/capable', 'security.capability'))"
ls /usr/share/bug; test ! -e /usr/share/base-files; test ! -e /etc/apt/preferences.d
"""


def test_an_image_is_exact_and_so_is_one_built_on_it(machines: Any) -> None:
    parent = machines.boot()
    machines.read(parent, CHANGES)
    before = machines.read(parent, LISTING)
    machines.stop(parent)
    machines.image(parent, "ami-parent")
    machines.terminate(parent)

    child = machines.boot("ami-parent")
    assert machines.read(child, LISTING) == before
    machines.read(
        child, "rm /opt/app/fifo /opt/app/link; mv /usr/share/moved /usr/share/again; echo 2 > /opt/app/two"
    )
    after = machines.read(child, LISTING)
    machines.stop(child)
    machines.image(child, "ami-child")
    machines.terminate(child)

    machines.hypervisor.delete_image("ami-parent")
    grandchild = machines.boot("ami-child")
    assert machines.read(grandchild, LISTING) == after
    machines.hypervisor.delete_image("ami-child")
    assert machines.read(grandchild, "cat /opt/app/two") == "2\n"
    assert (machines.state_dir / "images" / "ami-parent").exists()
    machines.terminate(grandchild)
    assert sorted(path.name for path in (machines.state_dir / "images").iterdir()) == [
        "ami-0000000000000source"
    ]


def test_nothing_of_a_machine_stays_in_its_image(machines: Any) -> None:
    spec = machines.boot()
    machines.ssh(spec, "sudo touch /opt/baked")
    identity = machines.read(spec, "cat /etc/machine-id; : > /etc/machine-id").strip()
    machines.stop(spec)
    machines.image(spec, "ami-clean")
    machines.terminate(spec)
    layer = machines.state_dir / "images" / "ami-clean" / "layer"
    needles = (spec.private_ip, spec.private_ip.replace(".", "-"), identity, machines.public_key.split()[1])
    for path in layer.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            # wtmp and lastlog name the address a login came from, as on EC2
            if path.name not in {"wtmp", "lastlog"}:
                assert not any(needle.encode() in content for needle in needles), path
            assert not path.name.startswith("ssh_host_"), path
    assert not (layer / "run").exists() or not any((layer / "run").iterdir())
    machines.hypervisor.delete_image("ami-clean")


def test_only_an_image_with_an_empty_machine_id_gives_each_machine_its_own(machines: Any) -> None:
    spec = machines.boot()
    identity = machines.read(spec, "cat /etc/machine-id")
    machines.stop(spec)
    machines.image(spec, "ami-identified")
    machines.hypervisor.boot(spec, machines.events)
    machines.events.wait("booted", spec.instance_id, times=2)
    machines.read(spec, ": > /etc/machine-id")
    machines.hypervisor.stop(spec.instance_id)
    machines.events.wait("stopped", spec.instance_id, times=2)
    machines.image(spec, "ami-empty")
    machines.terminate(spec)
    identified, first, second = [
        machines.boot(image) for image in ("ami-identified", "ami-empty", "ami-empty")
    ]
    assert machines.read(identified, "cat /etc/machine-id") == identity
    own = {machines.read(machine, "cat /etc/machine-id") for machine in (first, second)}
    assert all(re.fullmatch("[0-9a-f]{32}\n", text) for text in own)
    assert len(own | {identity}) == 3
    for machine in (identified, first, second):
        machines.terminate(machine)
    for image in ("ami-identified", "ami-empty"):
        machines.hypervisor.delete_image(image)


def test_an_image_whose_agent_is_not_started_has_none_online(machines: Any) -> None:
    spec = machines.boot()
    machines.read(spec, "systemctl disable amazon-ssm-agent.service")
    machines.stop(spec)
    machines.image(spec, "ami-agentless")
    machines.terminate(spec)
    without = machines.boot("ami-agentless")
    assert not machines.hypervisor.agent_online(without.instance_id)
    machines.ssh(without, "sudo systemctl start amazon-ssm-agent.service")
    assert machines.hypervisor.agent_online(without.instance_id)
    machines.terminate(without)
    machines.hypervisor.delete_image("ami-agentless")


def test_a_running_machine_is_not_imaged(machines: Any) -> None:
    spec = machines.boot()
    problems: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    machines.hypervisor.create_image(spec.instance_id, "ami-no", problems.put)
    assert "stopped" in str(problems.get(timeout=10))
    machines.terminate(spec)
