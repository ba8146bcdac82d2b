"""The sandbox's server: the account's API over HTTP on loopback, real time, real machines, real proxies."""

from __future__ import annotations

import logging
import random
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sandbox import state
from sandbox.balancer import Balancer
from sandbox.clock import RealClock
from sandbox.cloud import BALANCERS, MACHINES, Cloud
from sandbox.gateway.addresses import SIZE, Addresses, listening
from sandbox.gateway.images import DEBIAN
from sandbox.machines.hypervisor import RealHypervisor
from sandbox.settings import Settings
from sandbox.traffic import Traffic
from sandbox.wire.control import Control
from sandbox.wire.http import Front, listen

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)

Say = Callable[[str], None]


class Server:
    """One running sandbox.

    :param settings: its state folder must be claimed by this process.
    :param say: gets one line per step of the start.
    """

    def __init__(self, settings: Settings, say: Say) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._http = listen(settings.port, self._answer)
        self._clock = RealClock()
        self._hypervisor = RealHypervisor(
            state_dir=settings.state_dir / "machines", cache_dir=settings.cache_dir
        )
        self._balancer = Balancer(settings.state_dir / "balancer")
        say("the source image (Debian 12)")
        self._hypervisor.prepare(DEBIAN.image_id, lambda line: _progress(line, say))
        self._cloud = Cloud(
            clock=self._clock,
            hypervisor=self._hypervisor,
            region=settings.region,
            account_id=settings.account_id,
            times=settings.times,
            seed=random.SystemRandom().getrandbits(64),
            managed_policies=True,
            machine_addresses=_addresses(MACHINES),
            balancer_addresses=_addresses(BALANCERS),
            waits=lambda: not self._stopping.is_set(),
        )
        Traffic(self._cloud, self._balancer)
        views = {"calls": self._cloud.api.calls.table, "status": self._status}
        self._front = Front(self._cloud.api, Control(self._cloud.faults, views))

    def run(self, ready: Say) -> None:
        """Serve until SIGTERM or SIGINT, then end every machine and proxy.

        :param ready: gets one line once requests are answered.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopping.set())
        self._clock.start()
        threading.Thread(target=self._http.serve_forever, daemon=True, name="http").start()
        ready(f"ready: account {self._settings.account_id} at {self._settings.endpoint}")
        self._stopping.wait()
        self.close()

    def close(self) -> None:
        """End everything."""
        self._stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._clock.stop()
        self._balancer.close()
        self._hypervisor.close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        return self._front(environ, start_response)

    def _status(self) -> dict[str, Any]:
        account = self._cloud.account
        with account.lock:
            return {
                "account_id": account.account_id,
                "region": account.region,
                "endpoint": self._settings.endpoint,
                "instances": [
                    {
                        "InstanceId": instance.instance_id,
                        "ImageId": instance.spec.image_id,
                        "State": instance.state,
                        "PrivateIpAddress": instance.private_ip,
                        "AutoScalingGroupName": instance.spec.group_name,
                    }
                    for instance in account.instances
                    if instance.state != "terminated"
                ],
                "load_balancers": [
                    {"LoadBalancerName": each.name, "DNSName": each.address}
                    for each in self._cloud.target_groups.load_balancers()
                ],
            }


def serve(settings: Settings, say: Say) -> None:
    """Run a server in the foreground until it is told to stop; its state folder is emptied at the end.

    :raises PortTakenError: or StateError, or MachineError, if it cannot start.
    """
    state.claim(settings.state_dir, settings.port)
    try:
        Server(settings, say).run(say)
        say("stopped")
    finally:
        state.release(settings.state_dir)


def _addresses(second: int) -> Addresses:
    # Another sandbox may run on this host, and machines of both share its network.
    first = random.SystemRandom().randrange(SIZE) // 256 * 256 + 1
    return Addresses(second, first=first, in_use=listening)


def _progress(line: str, say: Say) -> None:
    """Show the steps; the hundreds of lines of debootstrap go to the log."""
    if line.startswith("debootstrap:"):
        log.info(line)
    else:
        say(line)
