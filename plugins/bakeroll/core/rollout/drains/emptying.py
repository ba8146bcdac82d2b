"""What every drain does: ask held instances to empty their log buffers, read the receipts, let go.

A termination lifecycle hook holds each instance in ``Terminating:Wait``, after the load balancer has
let go of it (https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html). There the
drain document runs; when its receipt says that nothing is left, the lifecycle action is completed. Of an
instance that cannot be emptied the action is ended as well, as ``drain.on_failure`` says: no action is left
to its timeout as long as anybody runs. What was sent and what came of it, SSM tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal

from bakeroll.core.aws import Clients
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.drains import commands, receipts
from bakeroll.core.rollout.drains.commands import DELIVERY_SECONDS, Invocation
from bakeroll.core.rollout.held import BEATS_IN_TIMEOUT
from bakeroll.core.rollout.lifecycle_actions import ENDINGS, HELD, Place
from bakeroll.core.steps import Act

GRACE_SECONDS = 60.0
"""How much later than its own timeout a script's end may be seen."""
UNSEEN_SECONDS = 30.0
"""How long a command that was sent may not show in SSM's lists."""

OnFailure = Literal["retain", "continue"]


@dataclass(frozen=True)
class Picture:
    """Where the instances stand.

    :ivar states: lifecycle state by id; an instance that is gone has none.
    :ivar invocations: those of the drain document by instance id, the newest first.
    """

    states: Mapping[str, str]
    invocations: Mapping[str, list[Invocation]]

    def held(self) -> list[str]:
        """Return the ids of those that wait at a hook."""
        return [instance_id for instance_id, state in self.states.items() if state == HELD]

    def state(self, instance_id: str) -> str:
        """Return an instance's lifecycle state; empty if it is gone."""
        return self.states.get(instance_id, "")

    def newest(self, instance_id: str) -> Invocation | None:
        """Return an instance's newest invocation; None if it was never asked."""
        return next(iter(self.invocations.get(instance_id, [])), None)


class Emptying(ABC):
    """Asks up to 50 held instances, and ends the lifecycle actions of those that are empty or given up.

    :param fleet: the fleet's name, for messages.
    :param instance_ids: at most 50.
    :param timeout: how long the drain script may take.
    :param stop_units: systemd units that it stops first.
    :param earlier: ids of the commands that there were when this attempt began: one that failed among
        them is sent again, one that fails in this attempt is told.
    :param on_failure: what becomes of an instance that cannot be emptied: ``retain`` keeps it for a person,
        ``continue`` terminates it and notes the loss.
    """

    def __init__(
        self,
        clients: Clients,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        timeout: timedelta,
        stop_units: Sequence[str],
        earlier: Collection[str] = (),
        on_failure: OnFailure = "retain",
    ) -> None:
        self._clients = clients
        self._name = fleet
        self._ids = list(instance_ids)
        self._timeout = timeout
        self._stop_units = list(stop_units)
        self._earlier = frozenset(earlier)
        self._on_failure = on_failure
        self._receipts: dict[tuple[str, str], receipts.Receipt] = {}
        self._heartbeat_seconds: float | None = None
        self._next_heartbeat = 0.0
        # SSM and Auto Scaling may show a call of ours a little later; it is not made twice meanwhile.
        self._asked: dict[str, float] = {}
        self._completed: set[str] = set()

    @abstractmethod
    def now(self) -> float:
        """Return the time in seconds since the epoch."""

    @abstractmethod
    def _may_act(self) -> None:
        """Make sure, before a change, that this drain may still act."""

    @abstractmethod
    def _emptied(self, place: Place, invocation: Invocation, receipt: receipts.Receipt) -> None:
        """Note that an instance is empty, before it is let go."""

    @abstractmethod
    def _ended_before(self, instance_id: str) -> None:
        """Note that an instance's action at our hook is over, though it is shown as held."""

    @abstractmethod
    def _patience_ends(self, instance_id: str) -> float:
        """Return until when an instance that cannot be asked is waited for, in seconds since the epoch."""

    @abstractmethod
    def _note(self, given_up: Mapping[str, str]) -> None:
        """Note why instances are given up, before their lifecycle actions are ended."""

    def _act(self, place: Place, picture: Picture, given_up: Collection[str]) -> Act | None:
        """Decide what is to be done for those that are held; None if they are waited for.

        One thing after the other may take as long as a wait, so the hook is told then as well.

        :param given_up: ids of those whose failure is noted.
        """
        act = self._due(place, picture, given_up)
        if act is None:
            return None
        perform = act.perform

        def told_before() -> None:
            self._keep_alive(place, picture.held())
            perform()

        return Act(act.what, told_before)

    def _due(self, place: Place, picture: Picture, given_up: Collection[str]) -> Act | None:
        act = self._complete(place, picture) or self._let_go_undrained(place, picture, given_up)
        if act:
            return act
        askable = [one for one in picture.held() if one not in given_up and self._askable(one, picture)]
        reachable = commands.online(self._clients.ssm, askable) if askable else set()
        return self._give_up(picture, given_up, askable, reachable) or self._send(
            place, [one for one in askable if one in reachable and not self._unseen(one)]
        )

    def _complete(self, place: Place, picture: Picture) -> Act | None:
        """Let go of one whose receipt says that it is empty."""
        for instance_id in picture.held():
            if instance_id in self._completed:
                continue
            if found := self._good_receipt(instance_id, picture):
                return Act(
                    f"{instance_id} is empty ({found[1].summary()}): complete its lifecycle action",
                    partial(self._let_go, place, *found),
                )
        return None

    def _let_go_undrained(self, place: Place, picture: Picture, given_up: Collection[str]) -> Act | None:
        """End the action of one that was given up, as the policy says."""
        left = [one for one in picture.held() if one in given_up and one not in self._completed]
        if not left:
            return None
        result = ENDINGS[self._on_failure]
        if result == "ABANDON" and not lifecycle_actions.keeps_abandoned(self._clients, place.group):
            return Act(f"have {place.group} keep abandoned instances", lambda: self._keep_abandoned(place))
        return Act(
            f"{left[0]} was not drained: end its lifecycle action with {result}",
            lambda: self._end_undrained(place, left[0]),
        )

    def _give_up(
        self,
        picture: Picture,
        given_up: Collection[str],
        askable: Collection[str],
        reachable: Collection[str],
    ) -> Act | None:
        """Note those whose script failed, or that could not be asked for too long."""
        failed: dict[str, str] = {}
        for instance_id in picture.held():
            if instance_id in given_up or instance_id in self._completed:
                continue
            if why := self._failure(instance_id, picture, instance_id in askable, instance_id in reachable):
                failed[instance_id] = why
        if not failed:
            return None
        words = ". ".join(f"{one}: {why}" for one, why in failed.items())
        return Act(f"give up draining {len(failed)} instances: {words}", lambda: self._note(failed))

    def _failure(self, instance_id: str, picture: Picture, askable: bool, reachable: bool) -> str:
        """Say why an instance is to be given up; empty if it is not."""
        newest = picture.newest(instance_id)
        if not askable:
            if newest is None or self._good_receipt(instance_id, picture) or self._busy(instance_id, picture):
                return ""
            return self._why(newest)
        tried = newest is not None and newest.state == "undelivered"
        if reachable and not tried and instance_id not in self._asked:
            return ""  # about to be asked for the first time
        if self.now() < self._patience_ends(instance_id):
            return ""
        return self._why(newest if tried else None)

    def _why(self, newest: Invocation | None) -> str:
        """Say what is wrong with a drain that failed, or was never begun."""
        if newest is None:
            return "its SSM agent does not answer"
        if newest.state == "undelivered":
            return f"its drain was not delivered or was cancelled ({newest.details or newest.status})"
        if newest.state == "running":
            return f"its drain script did not end in time ({newest.status}); its SSM agent may be dead"
        if newest.state == "failed":
            return f"draining failed ({newest.details or newest.status}), it says: {self._said(newest)}"
        try:
            return f"the drain script says success but {self._receipt(newest).rest()}"
        except DrainError as error:
            return str(error).removeprefix(f"{newest.instance_id}: ")

    def _send(self, place: Place, asked: list[str]) -> Act | None:
        if not asked:
            return None
        return Act(f"run {place.drain_document} on {', '.join(asked)}", lambda: self._run(place, asked))

    def _askable(self, instance_id: str, picture: Picture) -> bool:
        """Tell whether an instance has to be asked: never yet, in vain, or again by a new attempt."""
        if instance_id in self._completed or self._busy(instance_id, picture):
            return False
        newest = picture.newest(instance_id)
        if newest is None or newest.state == "undelivered":
            return self._good_receipt(instance_id, picture) is None
        return newest.command_id in self._earlier and self._good_receipt(instance_id, picture) is None

    def _unseen(self, instance_id: str) -> bool:
        """Tell whether an instance was asked a moment ago, by a command that may not show yet."""
        return self.now() < self._asked.get(instance_id, float("-inf")) + UNSEEN_SECONDS

    def _busy(self, instance_id: str, picture: Picture) -> bool:
        """Tell whether something may still come of an instance's commands, whichever of them."""
        return any(self._runs(one) for one in picture.invocations.get(instance_id, []))

    def _runs(self, invocation: Invocation) -> bool:
        return at_work(invocation, self._timeout, self.now())

    def _good_receipt(self, instance_id: str, picture: Picture) -> tuple[Invocation, receipts.Receipt] | None:
        """Return a receipt that says that the instance is empty, of whichever command."""
        for invocation in picture.invocations.get(instance_id, []):
            if invocation.state == "success":
                try:
                    receipt = self._receipt(invocation)
                except DrainError:
                    continue  # told of the newest invocation, when the instance is given up
                if receipt.empty:
                    return invocation, receipt
        return None

    def _receipt(self, invocation: Invocation) -> receipts.Receipt:
        key = (invocation.command_id, invocation.instance_id)
        if key not in self._receipts:
            stdout, _ = commands.output(self._clients.ssm, invocation)
            self._receipts[key] = receipts.parse(invocation.instance_id, stdout)
        return self._receipts[key]

    def _said(self, invocation: Invocation) -> str:
        """Return the end of what a failed script said."""
        _, stderr = commands.output(self._clients.ssm, invocation)
        return " ".join(stderr.split())[-500:] or "nothing"

    def _run(self, place: Place, instance_ids: list[str]) -> None:
        self._may_act()
        # Those that SSM refuses are asked again a little later as well, not at once and for ever.
        self._asked.update(dict.fromkeys(instance_ids, self.now()))
        commands.send(
            self._clients.ssm,
            place.drain_document,
            {
                "StopUnits": [" ".join(self._stop_units)],
                "TimeoutSeconds": [str(round(self._timeout.total_seconds()))],
            },
            instance_ids,
        )

    def _let_go(self, place: Place, invocation: Invocation, receipt: receipts.Receipt) -> None:
        self._may_act()
        self._emptied(place, invocation, receipt)
        self._end_action(place, invocation.instance_id, "CONTINUE")

    def _keep_abandoned(self, place: Place) -> None:
        self._may_act()
        lifecycle_actions.keep_abandoned(self._clients, place.group)

    def _end_undrained(self, place: Place, instance_id: str) -> None:
        self._may_act()
        self._end_action(place, instance_id, ENDINGS[self._on_failure])

    def _end_action(self, place: Place, instance_id: str, result: Literal["ABANDON", "CONTINUE"]) -> None:
        if not lifecycle_actions.complete(self._clients, place, instance_id, result):
            self._ended_before(instance_id)
        self._completed.add(instance_id)

    def _keep_alive(self, place: Place, held: Sequence[str]) -> None:
        """Restart the hook's timeout, three times in it; harmless however often it is done."""
        self._may_act()
        if self.now() < self._next_heartbeat:
            return
        if self._heartbeat_seconds is None:
            timeout = lifecycle_actions.heartbeat_timeout(self._clients, place)
            if timeout is None:
                raise DrainError(
                    f"fleet {self._name}: {place.group} has no lifecycle hook {place.termination_hook}; "
                    "apply Terraform"
                )
            self._heartbeat_seconds = timeout / BEATS_IN_TIMEOUT
        for instance_id in held:
            lifecycle_actions.heartbeat(self._clients, place, instance_id)
        self._next_heartbeat = self.now() + self._heartbeat_seconds


def at_work(invocation: Invocation, timeout: timedelta, now: float) -> bool:
    """Tell whether a drain script may still end by itself.

    An agent that went silent leaves its command in progress until SSM gives the document's step up, long
    after the script's own timeout.

    :param timeout: the script's own.
    :param now: seconds since the epoch.
    """
    longest = timeout.total_seconds() + DELIVERY_SECONDS + GRACE_SECONDS
    return invocation.state == "running" and now < invocation.requested_at + longest
