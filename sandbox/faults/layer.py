"""The faults of one account: set, listed and cleared while it runs, and asked about wherever one may hit.

::

    faults.set({"fault": "throttle", "action": "autoscaling:*", "rate": 0.2})
    faults.set(fault="lost", action="autoscaling:UpdateAutoScalingGroup", count=1)
    faults.clear()

Whoever answers calls passes each through :meth:`Faults.around`: the HTTP server and clients in the process
alike. Launches and machines pass through :mod:`sandbox.faults.wrapped`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from sandbox.faults import fields
from sandbox.faults.board import Board
from sandbox.faults.calls import CALLS, CallRule, Fault, read_call_rule
from sandbox.faults.errors import FaultSettingError, NoAnswerError
from sandbox.faults.events import EVENTS, read_event_rule
from sandbox.faults.launches import KIND as LAUNCH_FAILURE
from sandbox.faults.launches import LaunchRule, read_launch_rule
from sandbox.faults.machines import MACHINES, MachineRule, read_machine_rule
from sandbox.faults.past import Past
from sandbox.faults.world import World
from sandbox.model.errors import ServiceError
from sandbox.model.ports import LaunchError, LaunchSpec

if TYPE_CHECKING:
    from sandbox.model.account import Account

Result = TypeVar("Result")

LOST_ZONE = "lost-zone"
KINDS = (*CALLS, LAUNCH_FAILURE, *MACHINES, LOST_ZONE, *EVENTS)


class Faults:
    """The fault settings of one account; safe to use from several threads.

    :param random: draws what is hit; seeded, a run can be repeated.
    :param now: seconds since the epoch.
    :param pass_time: lets some seconds go by: sleeps, or advances a virtual clock.
    """

    def __init__(
        self, *, random: Random, now: Callable[[], float], pass_time: Callable[[float], object]
    ) -> None:
        self.pass_time = pass_time
        self._random = random
        self._board = Board(random)
        self._past = Past(now)
        self._world: World | None = None

    def attach(self, account: Account) -> None:
        """Make faults of launches, machines and groups possible.

        :param account: its hypervisor and records are those of :mod:`sandbox.faults.wrapped`.
        """
        self._world = World(account, self._random)
        account.impaired = lambda instance_id: self.machine_is("unreachable", instance_id)

    def set(self, setting: Mapping[str, Any] | None = None, /, **values: Any) -> int:
        """Add a fault.

        :return: its id.
        :raises FaultSettingError: in one line, if the setting makes no sense; then nothing is set.
        """
        given = {**(setting or {}), **values}
        kind = given.get("fault")
        if kind in CALLS:
            return self._board.add(read_call_rule(str(kind), given))
        if kind not in KINDS:
            message = f"fault is {kind!r}, expected one of {', '.join(sorted(KINDS))}"
            raise FaultSettingError(message)
        world = self._need_world(str(kind))
        if kind in EVENTS:
            return world.begin(read_event_rule(str(kind), given), self._board)
        if kind == LAUNCH_FAILURE:
            return self._board.add(read_launch_rule(kind, given))
        parts = _lost_zone(given) if kind == LOST_ZONE else (read_machine_rule(str(kind), given),)
        number = self._board.add(*parts[:1], *parts)
        if parts[-1].fault == "unreachable":
            world.lost_sight_of(parts[-1])
        return number

    def list(self) -> list[dict[str, Any]]:
        """Return what is set, with how often each hit so far."""
        return self._board.shapes()

    def clear(self, number: int | None = None) -> None:
        """Remove one fault, or all.

        :raises FaultSettingError: if there is none with this id.
        """
        self._board.clear(number)
        if not self._board.has(CallRule):
            self._past.clear()

    def decide(self, service: str, operation: str, principal: str, *, key: Hashable = ()) -> Fault | None:
        """Decide what happens to one call; of several faults the one set first that hits it.

        :param service: botocore's name of it.
        :param operation: botocore's name of the action.
        :param principal: the access key id.
        :param key: its parameters, by which an earlier answer to the same call is found.
        """
        earlier: tuple[Any] | None = None

        def concerns(rule: CallRule) -> bool:
            nonlocal earlier
            if not rule.matches(service, operation, principal):
                return False
            if rule.fault != "stale":
                return True
            # Of a call that was never made before nobody would know a stale answer from a fresh one.
            earlier = self._past.oldest((service, operation, key), rule.seconds or 0.0)
            return earlier is not None

        rule = self._board.hit(CallRule, concerns)
        return None if rule is None else rule.fault_for(service, earlier)

    def around(
        self,
        service: str,
        operation: str,
        principal: str,
        perform: Callable[[], Result],
        *,
        key: Hashable = (),
        good: Callable[[Result], bool] = lambda _: True,
    ) -> Result:
        """Perform one call as the faults will have it.

        :param perform: does it and returns its answer; holds the account's lock only inside.
        :param key: its parameters, so that an answer from the past is one to the same question.
        :param good: tells whether an answer is no refusal, where ``perform`` does not raise those.
        :raises ServiceError: where the call is refused.
        :raises NoAnswerError: where its answer is lost.
        """
        if not self._board.has(CallRule):
            return perform()
        memory = self._memory(service, operation, principal)
        fault = self.decide(service, operation, principal, key=key)
        if fault is not None and fault.error is not None:
            raise fault.error
        if fault is not None and fault.kind == "dropped":
            self.pass_time(fault.seconds)
            raise NoAnswerError(fault.seconds, done=False)
        if fault is not None and fault.kind == "stale" and fault.earlier is not None:
            earlier: Result = copy.deepcopy(fault.earlier[0])
            return earlier
        try:
            answer = perform()
        except ServiceError:
            self._hold_back(fault)  # a refusal is an answer too, and as easily lost
            raise
        if memory is not None and good(answer):
            self._past.remember((service, operation, key), copy.deepcopy(answer), memory)
        self._hold_back(fault)
        return answer

    def refused_launch(self, spec: LaunchSpec) -> LaunchError | None:
        """Return EC2's refusal of a launch, if a fault hits it."""
        rule = self._board.hit(LaunchRule, lambda rule: rule.matches(spec))
        return None if rule is None else rule.error(spec)

    def machine_fault(self, kind: str, instance_id: str) -> MachineRule | None:
        """Return the fault that hits a machine now, if one does.

        :param kind: one of :data:`sandbox.faults.machines.MACHINES`.
        """
        if self._world is None or not self._board.has(MachineRule):
            return None
        spec = self._world.spec(instance_id)
        return self._board.hit(
            MachineRule, lambda rule: rule.fault == kind and rule.matches(spec, instance_id)
        )

    def machine_is(self, kind: str, instance_id: str) -> bool:
        """Tell whether a machine is in a state that a fault sets, for as long as that stands."""
        if self._world is None or not self._board.has(MachineRule):
            return False
        spec = self._world.spec(instance_id)
        return bool(
            self._board.standing(
                MachineRule, lambda rule: rule.fault == kind and rule.matches(spec, instance_id)
            )
        )

    def _hold_back(self, fault: Fault | None) -> None:
        """Let the time of a slow answer pass, and drop it if it is a lost one.

        :raises NoAnswerError: if it is.
        """
        if fault is not None:
            self.pass_time(fault.seconds)
            if fault.kind == "lost":
                raise NoAnswerError(fault.seconds, done=True)

    def _need_world(self, kind: str) -> World:
        if self._world is None:
            message = f"fault {kind} needs an account with machines, and this one has none"
            raise FaultSettingError(message)
        return self._world

    def _memory(self, service: str, operation: str, principal: str) -> float | None:
        """Tell for how long answers to a call are to be kept, None if they are not."""
        wanted = self._board.standing(
            CallRule, lambda rule: rule.fault == "stale" and rule.matches(service, operation, principal)
        )
        return max((rule.seconds or 0.0 for rule in wanted), default=None)


def _lost_zone(given: Mapping[str, Any]) -> tuple[LaunchRule, MachineRule]:
    values = fields.read_all(LOST_ZONE, given, {"zone": fields.text})
    if "zone" not in values:
        message = f"fault {LOST_ZONE} needs zone, the name of an availability zone"
        raise FaultSettingError(message)
    return LaunchRule(fault=LOST_ZONE, **values), MachineRule(fault="unreachable", **values)
