"""What a running machine is like from within, over SSH and for the SSM agent."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

from sandbox.model.ports import CommandResult

WEB = """\
cat > /etc/systemd/system/web.service <<'UNIT'
[Unit]
Description=A web server
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind {address} 8080
Restart=on-failure
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
"""


def test_admin_logs_in_and_becomes_root(machines: Any, machine: Any) -> None:
    done = machines.ssh(machine, "whoami && sudo whoami && hostname && getent hosts localhost")
    assert done.stdout.split()[:4] == [
        "admin",
        "root",
        "ip-" + machine.private_ip.replace(".", "-"),
        machine.private_ip,
    ]


def test_an_unknown_key_is_refused(machines: Any, machine: Any, tmp_path: Path) -> None:
    import subprocess

    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    done = subprocess.run(
        ["ssh", *options, "-i", str(tmp_path / "other"), f"admin@{machine.private_ip}", "true"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "Permission denied" in done.stderr


def test_it_sees_only_itself(machines: Any, machine: Any) -> None:
    out = machines.read(machine, "ls /proc | grep -c '^[0-9]'; cut -d' ' -f2 /proc/mounts; cat /proc/1/comm")
    lines = out.split()
    assert int(lines[0]) < 30
    assert "/mnt" not in lines
    assert lines[-1] == "systemd"
    assert str(machines.state_dir) not in Path("/proc/mounts").read_text()


def test_a_script_finds_with_curl_what_listens_on_localhost(machines: Any, machine: Any) -> None:
    """For curl localhost is always 127.0.0.1, which is the host's."""
    answer = machines.read(
        machine,
        "cd /mnt; python3 -m http.server 8099 --bind localhost >/dev/null 2>&1 & server=$!\n"
        "curl -fsS --retry 50 --retry-delay 1 --retry-connrefused --noproxy '*' http://localhost:8099/\n"
        "kill $server",
    )
    assert "Directory listing" in answer


def test_devices_work(machines: Any, machine: Any) -> None:
    script = "echo x > /dev/null; head -c 8 /dev/urandom | wc -c; touch /dev/shm/x; "
    script += "python3 -c 'import pty; pty.openpty()'"
    assert machines.read(machine, script).strip() == "8"
    assert "/dev/pts/" in machines.ssh(machine, "python3 -c 'import pty; pty.spawn([\"tty\"])'").stdout


def test_kernel_parameters_are_its_own(machines: Any, machine: Any) -> None:
    before = Path("/proc/sys/vm/swappiness").read_text()
    assert (
        machines.read(machine, "sysctl -w vm.swappiness=7 > /dev/null; sysctl -n vm.swappiness").strip()
        == "7"
    )
    assert Path("/proc/sys/vm/swappiness").read_text() == before
    ids = machines.read(machine, "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/uuid").split()
    assert ids[0] != ids[1]


def test_it_cannot_change_the_hosts_network(machines: Any, machine: Any) -> None:
    for result in (
        machines.run(machine, "ip link add dummy9 type dummy").status,
        machines.ssh(machine, "sudo ip link add dummy9 type dummy").returncode,
    ):
        assert result != 0


def test_a_unit_is_enabled_started_stopped_and_restarted(machines: Any, machine: Any) -> None:
    machines.read(machine, WEB.format(address=machine.private_ip) + "systemctl enable --now web.service")
    machines.read(machine, "systemctl is-enabled web.service && systemctl is-active web.service")
    url = f"http://{machine.private_ip}:8080/"
    fetch = f"for i in $(seq 50); do curl -sf {url} && exit 0; sleep 0.1; done; exit 1"
    machines.read(machine, fetch)
    first = machines.read(machine, "systemctl show -p MainPID web.service")
    machines.read(machine, "systemctl restart web.service; systemctl status web.service")
    assert machines.read(machine, "systemctl show -p MainPID web.service") != first
    machines.read(machine, fetch)
    # It was added since the boot, and is restarted all the same when it fails.
    machines.read(machine, "kill -9 $(systemctl show -p MainPID web.service | cut -d= -f2)")
    time.sleep(0.2)
    machines.read(machine, fetch)
    machines.read(machine, "systemctl stop web.service")
    assert machines.run(machine, "systemctl is-active web.service").status != 0
    # A unit that was stopped stays so, although the first process restarts failed ones.
    time.sleep(2.5)
    assert machines.run(machine, f"curl -sf http://{machine.private_ip}:8080/").status == 7


def test_scripts_run_as_root_with_their_own_interpreter(machines: Any, machine: Any) -> None:
    result = machines.run(
        machine, "#!/usr/bin/python3\nimport os\nprint(os.getuid(), os.environ['AWS_SSM_INSTANCE_ID'])"
    )
    assert result == CommandResult(status=0, stdout=f"0 {machine.instance_id}\n", stderr="")


def test_output_and_status_of_a_script(machines: Any, machine: Any) -> None:
    assert machines.run(machine, "echo out; echo err >&2; cat; exit 3") == CommandResult(
        status=3, stdout="out\n", stderr="err\n"
    )


def test_a_scripts_text_is_in_no_argument_list(machines: Any, machine: Any) -> None:
    found = machines.read(
        machine, "secret=tiger7; cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'secre[t]=' || true"
    )
    assert found.strip() == "0"


def test_much_output_is_cut_and_does_not_block(machines: Any, machine: Any) -> None:
    result = machines.run(machine, "head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2")
    assert (result.status, len(result.stdout), result.stderr) == (0, 256 * 1024, "done\n")


def test_a_slow_script_times_out(machines: Any, machine: Any) -> None:
    began = time.monotonic()
    result = machines.run(machine, "echo begun; sleep 61", timeout_seconds=0.5)
    assert time.monotonic() - began < 30
    assert (result.timed_out, result.stdout) == (True, "begun\n")
    assert machines.read(machine, "ps ax | grep -c '[s]leep 61' || true").strip() == "0"


def test_a_script_that_leaves_something_running_ends(machines: Any, machine: Any) -> None:
    began = time.monotonic()
    assert machines.run(machine, "sleep 62 & echo left").stdout == "left\n"
    assert time.monotonic() - began < 30


def test_a_script_is_cancelled(machines: Any, machine: Any) -> None:
    results: queue.SimpleQueue[CommandResult] = queue.SimpleQueue()
    script = "touch /run/begun; sleep 62"
    machines.hypervisor.run_command(machine.instance_id, script, 60.0, results.put)
    machines.read(machine, "for i in $(seq 100); do [ -e /run/begun ] && exit 0; sleep 0.05; done; exit 1")
    machines.hypervisor.cancel_command(machine.instance_id, script)
    result = results.get(timeout=5)
    assert result.status != 0
    assert not result.timed_out


def test_its_console_shows_the_boot(machines: Any, machine: Any) -> None:
    assert "ssh.service" in machines.hypervisor.console_output(machine.instance_id)


def test_its_agent_is_online_while_its_unit_runs(machines: Any, machine: Any) -> None:
    assert machines.hypervisor.agent_online(machine.instance_id)
    assert not machines.hypervisor.agent_online("i-unknown")
    machines.read(machine, "systemctl stop amazon-ssm-agent.service")
    assert not machines.hypervisor.agent_online(machine.instance_id)
    machines.read(machine, "systemctl start amazon-ssm-agent.service")
    assert machines.hypervisor.agent_online(machine.instance_id)
