"""Drain instances that no rollout retired.

One that cannot be drained is let go as ``drain.on_failure`` says, and told of at the end, when all others are
let go. One whose agent does not answer is asked by each run until its time is over; meanwhile the looks of
these runs keep its lifecycle hook from timing out (:mod:`bakeroll.core.rollout.drains.terminations`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout.drains import terminations, undrained
from bakeroll.core.rollout.drains.commands import DELIVERY_SECONDS, Invocation
from bakeroll.core.rollout.drains.emptying import Emptying, Picture
from bakeroll.core.rollout.drains.receipts import Receipt
from bakeroll.core.rollout.drains.undrained import Outcome, Records, Undrained
from bakeroll.core.rollout.journal.known_fleets import KnownFleet
from bakeroll.core.rollout.lifecycle_actions import GONE, HELD, RETAINED, Place
from bakeroll.core.steps import Act, Decision, Done, Wait


class DrainWaiting(Emptying):
    """Drain up to 50 waiting instances that :func:`bakeroll.core.rollout.drains.terminations.find` found.

    :param bucket: the state bucket; a record of each drain is kept there.
    :param environment: the environment's name.
    :param place: the fleet.
    :param run: the run that drains, ``<dag id>/<run id>``.
    :param clock: the time in seconds since the epoch.
    """

    def __init__(
        self,
        clients: Clients,
        bucket: str,
        environment: str,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        place: KnownFleet,
        run: str,
        clock: Callable[[], float],
        earlier: Collection[str] = (),
    ) -> None:
        super().__init__(
            clients,
            fleet,
            instance_ids,
            timeout=place.drain_timeout,
            stop_units=place.stop_units,
            earlier=earlier,
            on_failure=place.on_failure,
        )
        self._bucket = bucket
        self._environment = environment
        self._place = place
        self._owner = run
        self._clock = clock
        self._given_up: dict[str, str] = {}
        self._ends: dict[str, Undrained] = {}
        self._told: set[str] = set()
        self._untold = ""

    def now(self) -> float:
        """Return the clock's time."""
        return self._clock()

    def _may_act(self) -> None:
        """Ask nobody: what is done here may be done twice, by two runs or beside a rollout."""

    def look(self) -> Decision:
        """Decide what is to be done; end when nothing more can be, with an error if somebody is left."""
        picture = self._look_around()
        act = self._act(self._place, picture, self._given_up)
        if act:
            return act
        pending = [one for one in picture.held() if self._pending(one, picture)]
        if pending:
            counted = Counter(self._status(one, picture) for one in pending)
            words = "".join(f", {count} drain ({status})" for status, count in sorted(counted.items()))
            passed = max(0, round(self.now() - min(self._began[one] for one in pending)))
            return Wait(
                f"{len(self._ids) - len(pending)} of {len(self._ids)} are through{words}, {passed} s",
                lambda: self._keep_alive(self._place, pending),
            )
        self._see_ends(picture)
        return self._tell(picture) or self._end(picture)

    def earlier_commands(self) -> list[str]:
        """Return the ids of all commands that there are for these instances, whatever came of them."""
        known = self._look_around().invocations.values()
        return sorted({one.command_id for each in known for one in each})

    def _look_around(self) -> Picture:
        found = self._clients.autoscaling.describe_auto_scaling_instances(InstanceIds=self._ids)
        return Picture(
            {one["InstanceId"]: one["LifecycleState"] for one in found["AutoScalingInstances"]},
            terminations.asked_since(self._clients, self._place.drain_document, self._began),
        )

    @cached_property
    def _began(self) -> dict[str, float]:
        return terminations.termination_times(
            self._clients.autoscaling, self._place.group, self._ids, self.now()
        )

    def _pending(self, instance_id: str, picture: Picture) -> bool:
        if instance_id in self._completed:
            return False  # held by another hook of the group, which is somebody else's
        return self._busy(instance_id, picture) or self._unseen(instance_id)

    def _ended_before(self, instance_id: str) -> None:
        """Note nothing: one whose action was ended is not waited for here."""

    def _patience_ends(self, instance_id: str) -> float:
        """Count from the beginning of the termination, as nothing else is known to all runs alike."""
        return self._began[instance_id] + self._timeout.total_seconds() + DELIVERY_SECONDS

    def _note(self, given_up: Mapping[str, str]) -> None:
        """Note it in the bucket, and here for as long as this attempt lasts."""
        self._given_up.update(given_up)
        for instance_id in given_up:
            self._records.write(instance_id, self.now(), self._undrained(instance_id).facts)

    def _undrained(self, instance_id: str) -> Undrained:
        outcome: Outcome = "retained" if self._on_failure == "retain" else "lost"
        return Undrained(instance_id, outcome, self._given_up[instance_id])

    @staticmethod
    def _status(instance_id: str, picture: Picture) -> str:
        newest = picture.newest(instance_id)
        return newest.status if newest else "sent"

    def _see_ends(self, picture: Picture) -> None:
        """Look who ended otherwise than by us, or otherwise than we meant."""
        self._ends = {one: self._undrained(one) for one in self._given_up}
        for instance_id in self._ids:
            if self._good_receipt(instance_id, picture) and instance_id not in self._given_up:
                continue
            why, state = self._given_up.get(instance_id), picture.state(instance_id)
            if state in GONE or (state == "Terminating:Proceed" and why is None):
                why = why or (
                    "it went without a receipt that says it is empty (terminated directly, or its lifecycle "
                    f"action ended by somebody else or by {self._place.termination_hook}'s timeout)"
                )
                self._ends[instance_id] = Undrained(instance_id, "lost", why)
            elif state == RETAINED:
                why = why or "its lifecycle hook timed out before it was drained"
                self._ends[instance_id] = Undrained(instance_id, "retained", why)

    def _tell(self, picture: Picture) -> Act | None:
        """Tell people of those that were not drained, once in an attempt."""
        news = [
            end
            for one, end in self._ends.items()
            if one not in self._told and (picture.state(one) != HELD or one in self._completed)
        ]
        if not news:
            return None
        return Act(
            f"tell people of {', '.join(one.instance_id for one in news)}", lambda: self._publish(news)
        )

    def _publish(self, news: Sequence[Undrained]) -> None:
        for one in news:
            self._records.write(one.instance_id, self.now(), one.facts)
        self._untold = undrained.tell(self._clients, self._environment, self._name, self._owner, news)
        self._told.update(one.instance_id for one in news)

    def _end(self, picture: Picture) -> Done:
        drained: list[dict[str, Any]] = []
        problems: list[str] = []
        for instance_id in self._ids:
            if end := self._ends.get(instance_id):
                problems.append(end.sentence)
            elif found := self._good_receipt(instance_id, picture):
                drained.append({"instance_id": instance_id, **found[1].model_dump()})
            else:
                problems.append(self._problem(instance_id, picture))
        if self._untold:
            problems.append(f"Nobody could be told: {self._untold}.")
        if problems:
            raise DrainError(
                f"{self._environment}, fleet {self._name}: {len(drained)} of {len(self._ids)} drained. "
                + " ".join(problems)
            )
        return Done(f"{self._name}: {len(drained)} instances drained", drained)

    def _problem(self, instance_id: str, picture: Picture) -> str:
        """Say why an instance is not drained yet, and what comes next."""
        state = picture.state(instance_id)
        if state != HELD:
            return f"{instance_id} is {state}, and waits no more."
        left = max(0, round(self._patience_ends(instance_id) - self.now()))
        return (
            f"{instance_id}: {self._why(self._unanswered(instance_id, picture))}; look at the instance. Each "
            f"next run asks it again; in {left} s it is given up ({self._on_failure})."
        )

    @staticmethod
    def _unanswered(instance_id: str, picture: Picture) -> Invocation | None:
        newest = picture.newest(instance_id)
        return newest if newest and newest.state == "undelivered" else None

    def _emptied(self, place: Place, invocation: Invocation, receipt: Receipt) -> None:  # noqa: ARG002
        facts = {"command_id": invocation.command_id, "receipt": receipt.model_dump()}
        self._records.write(invocation.instance_id, self.now(), facts)

    @cached_property
    def _records(self) -> Records:
        return Records(
            self._clients,
            self._bucket,
            self._environment,
            fleet=self._name,
            group=self._place.group,
            run=self._owner,
        )
