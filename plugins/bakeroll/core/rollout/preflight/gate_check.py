"""Look, before anything moves, whether a fleet's gate can be asked what its file says."""

from __future__ import annotations

from bakeroll.core.aws import Clients
from bakeroll.core.gate_settings import Gate
from bakeroll.core.rollout import fleet
from bakeroll.core.rollout.gates import alarms, http_check


def problems(clients: Clients, group: str, gate: Gate) -> list[str]:
    """Return what stands in a gate's way: a missing alarm, nowhere to ask.

    :param group: name of the fleet's Auto Scaling group.
    """
    found: list[str] = []
    if gate.alarms:
        there = alarms.describe(clients.cloudwatch, gate.alarms)
        if missing := alarms.missing(gate.alarms, there):
            found.append(missing)
    if gate.http:
        behind = sorted(fleet.balancers(clients, group))
        address = http_check.find_address(clients.elbv2, behind, gate.http)
        if isinstance(address, str):
            found.append(address)
    return found
