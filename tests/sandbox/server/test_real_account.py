"""One account with real machines: over HTTP, from an image to a replaced instance, and gone after kill -9."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import state
from sandbox.client import Client
from sandbox.gateway.addresses import listening
from sandbox.gateway.images import DEBIAN
from tests.fleets import make_fleet
from tests.real_account import Sandbox, require_real_machines, wait

pytestmark = [pytest.mark.real_machines, pytest.mark.timeout(600)]

WEB = r"""
set -e
mkdir -p /srv/www
echo version-1 > /srv/www/index.html
echo ok > /srv/www/health
cat > /usr/local/bin/web <<'END'
#!/bin/sh
cd /srv/www
exec python3 -m http.server --bind "$(hostname -i)" 8080
END
chmod 755 /usr/local/bin/web
cat > /etc/systemd/system/web.service <<'END'
[Unit]
Description=web
[Service]
ExecStart=/usr/local/bin/web
[Install]
WantedBy=multi-user.target
END
systemctl enable web.service
"""

SHELL = {
    "schemaVersion": "2.2",
    "parameters": {"script": {"type": "String"}},
    "mainSteps": [
        {"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["{{ script }}"]}}
    ],
}


def get(address: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except urllib.error.URLError:
        return None


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    require_real_machines()
    made = Sandbox(tmp_path_factory.mktemp("sandbox") / "state")
    made.command("up")
    try:
        yield made
    finally:
        made.command("down")


def test_from_image_to_replaced_instance_and_nothing_left_after_kill(sandbox: Sandbox) -> None:
    ec2, autoscaling = sandbox.client("ec2"), sandbox.client("autoscaling")
    sandbox.client("ssm").create_document(Name="shell", DocumentType="Command", Content=json.dumps(SHELL))

    # An image as Packer makes it: launch, provision, stop, keep.
    launched = ec2.run_instances(ImageId=DEBIAN.image_id, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    builder = launched["Instances"][0]["InstanceId"]
    wait(lambda: sandbox.instance_state(builder) == "running")
    sandbox.run(builder, WEB)
    ec2.stop_instances(InstanceIds=[builder])
    wait(lambda: sandbox.instance_state(builder) == "stopped")
    image_id = ec2.create_image(InstanceId=builder, Name="application-0")["ImageId"]
    wait(lambda: ec2.describe_images(ImageIds=[image_id])["Images"][0]["State"] == "available")
    ec2.terminate_instances(InstanceIds=[builder])

    # A group of it behind a load balancer.
    fleet = make_fleet(sandbox, image_id=image_id, size=1, deregistration_delay_seconds=1)

    def serving() -> str | None:
        found = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.group])
        instances = found["AutoScalingGroups"][0]["Instances"]
        return next((each["InstanceId"] for each in instances if each["LifecycleState"] == "InService"), None)

    first = wait(serving)
    balancer = sandbox.client("elbv2").describe_load_balancers()["LoadBalancers"][0]["DNSName"]
    wait(lambda: get(balancer) == "version-1")
    assert sandbox.run(first, "hostname").startswith("ip-127-10-")

    # Its instance is held by the hook until somebody lets it go, and is replaced.
    autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=first, ShouldDecrementDesiredCapacity=False
    )

    def held() -> bool:
        found = autoscaling.describe_auto_scaling_instances(InstanceIds=[first])["AutoScalingInstances"]
        return bool(found[0]["LifecycleState"] == "Terminating:Wait")

    wait(held)
    assert sandbox.run(first, "cat /srv/www/index.html") == "version-1\n"
    autoscaling.complete_lifecycle_action(
        LifecycleHookName=fleet.hook,
        AutoScalingGroupName=fleet.group,
        LifecycleActionResult="CONTINUE",
        InstanceId=first,
    )
    wait(lambda: sandbox.instance_state(first) == "terminated")
    wait(lambda: serving() not in {None, first})
    wait(lambda: get(balancer) == "version-1")

    # Faults, set while it runs: the instance dies while EC2 has no capacity, and is replaced when it has.
    second = serving()
    faults = Client(sandbox.port)
    scarce = faults.set_fault(fault="launch-failure", group=fleet.group)
    faults.set_fault(fault="throttle", action="autoscaling:Describe*", count=1)
    faults.set_fault(fault="death", instance=second)
    wait(lambda: second is not None and sandbox.instance_state(second) == "stopped")

    def refused() -> bool:
        found = autoscaling.describe_scaling_activities(AutoScalingGroupName=fleet.group)["Activities"]
        return any("do not have sufficient" in each.get("StatusMessage", "") for each in found)

    wait(refused)
    faults.clear_faults(scarce)
    wait(lambda: serving() not in {None, second})
    wait(lambda: get(balancer) == "version-1")
    assert faults.get("faults") == []
    assert json.loads(sandbox.command("status"))["endpoint"] == sandbox.endpoint_url

    # Everything answered on loopback addresses of its own; killed hard, nothing of it stays.
    status = sandbox.status()
    running = [each for each in status["instances"] if each["State"] == "running"]
    addresses = {each["PrivateIpAddress"] for each in running} | {balancer}
    assert addresses <= listening()
    server = state.read(sandbox.folder)
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    assert "nothing of it is left" in sandbox.command("down")
    assert not addresses & listening()
    assert str(sandbox.folder) not in Path("/proc/mounts").read_text()
    assert not sandbox.folder.exists()
