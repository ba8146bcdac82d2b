"""Load balancers in front of the machines: one HAProxy for each listener, following its target group.

A listener forwards to one target group, so its HAProxy has one backend whose servers are set while it
runs. Nothing is ever reloaded, and so no client's kept-alive connection is ever closed because a target
came or went or because another listener was made.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.haproxy import BalancerError, HAProxy

__all__ = ["Balancer", "BalancerError", "LoadBalancerSpec", "Target"]

logger = logging.getLogger(__name__)

Target = tuple[str, int, str]
"""Address, port and ``healthy`` or ``draining``."""


@dataclass(frozen=True, kw_only=True)
class LoadBalancerSpec:
    """One load balancer: its own loopback address, and the target group each listener's port forwards to."""

    address: str
    listeners: Mapping[int, str]


class Balancer:
    """All load balancers of the account.

    A listener whose target group has no healthy target answers 503 (Elastic Load Balancing user guide,
    "HTTP 503: Service unavailable"). Targets that are neither healthy nor draining get nothing; who wants
    the fail-open of a group with only unhealthy targets passes those as healthy.

    :param state_dir: an own folder for configurations and sockets.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._proxies: dict[tuple[str, int], HAProxy] = {}
        self._groups: dict[tuple[str, int], str] = {}
        self._targets: dict[str, tuple[Target, ...]] = {}
        self._lock = threading.RLock()

    def apply(self, load_balancers: Mapping[str, LoadBalancerSpec]) -> None:
        """Make listening what is described, and end what is not. Returns when it is so.

        :param load_balancers: every load balancer of the account, by ARN.
        :raises BalancerError: if an address cannot be listened on; the other listeners are made all the same.
        """
        wanted = {
            (spec.address, port): group
            for spec in load_balancers.values()
            for port, group in spec.listeners.items()
        }
        with self._lock:
            for place in [place for place in self._proxies if place not in wanted]:
                self._proxies.pop(place).close()
            self._groups = wanted
            problems: list[Exception] = []
            for place in wanted:
                try:
                    self._follow(place)
                except BalancerError as error:
                    problems.append(error)
            if problems:
                raise BalancerError("; ".join(str(problem) for problem in problems))

    def targets(self, target_group_arn: str, targets: Sequence[Target]) -> None:
        """Set a target group's targets. Returns when new requests already follow it.

        A ``draining`` target finishes the requests it has and gets no new one. A target that is left out is
        gone: requests it still has are cut, as ELB does at the end of the deregistration delay.

        :param target_group_arn: may be one that no listener forwards to yet.
        :param targets: address, port and ``healthy`` or ``draining`` of each.
        :raises BalancerError: if a proxy does not do as told.
        """
        with self._lock:
            self._targets[target_group_arn] = tuple(targets)
            for place, group in self._groups.items():
                if group == target_group_arn:
                    self._follow(place)

    def close(self) -> None:
        """End every proxy, cutting what it has."""
        with self._lock:
            for proxy in self._proxies.values():
                proxy.close()
            self._proxies.clear()
            self._groups = {}

    def _follow(self, place: tuple[str, int]) -> None:
        proxy = self._proxies.get(place)
        if proxy is not None and not proxy.alive:
            logger.error("The proxy on %s:%s had died and is started again", *place)
            self._proxies.pop(place).close()
            proxy = None
        if proxy is None:
            proxy = HAProxy(self._state_dir, *place)
            self._proxies[place] = proxy
        proxy.set_servers(self._targets.get(self._groups[place], ()))
