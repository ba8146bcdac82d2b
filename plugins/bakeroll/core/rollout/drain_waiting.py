"""Drain instances that no rollout retired.

One that cannot be drained is told of at the end, when all others are let go; it is held until its
lifecycle hook times out, and asked again by each later run. Only while a script is at work does the hook
hear of us, so its timeout and default result decide when a drain is given up.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import CONFLICTS, Clients, error_code
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout import terminations
from bakeroll.core.rollout.commands import Invocation
from bakeroll.core.rollout.emptying import HELD, RETAINED, Emptying, Picture, Place
from bakeroll.core.rollout.known_fleets import KnownFleet
from bakeroll.core.rollout.receipts import Receipt
from bakeroll.core.steps import Decision, Done, Wait

UNSEEN_SECONDS = 30.0
"""How long a command that was sent may not show in SSM's lists."""

GONE = frozenset({"", "Terminated", "Terminating:Proceed"})
"""States after the lifecycle action; an instance that is gone has none."""


class DrainWaiting(Emptying):
    """Drain up to 50 instances that wait, as :func:`bakeroll.core.rollout.terminations.find` found them.

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
        )
        self._bucket = bucket
        self._environment = environment
        self._place = place
        self._owner = run
        self._clock = clock

    def now(self) -> float:
        """Return the clock's time."""
        return self._clock()

    def _may_act(self) -> None:
        """Ask nobody: what is done here may be done twice, by two runs or beside a rollout."""

    def look(self) -> Decision:
        """Decide what is to be done; end when nothing more can be, with an error if somebody is left."""
        picture = self._look_around()
        act = self._complete(self._place, picture) or self._send(self._place, picture)
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
        return self._end(picture)

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

    def _runs(self, invocation: Invocation) -> bool:
        return terminations.at_work(invocation, self._place, self.now())

    def _pending(self, instance_id: str, picture: Picture) -> bool:
        newest = picture.newest(instance_id)
        if instance_id in self._completed:
            return False  # held by another hook of the group, which is somebody else's
        if newest is None:
            return self.now() < self._asked.get(instance_id, float("-inf")) + UNSEEN_SECONDS
        return self._runs(newest)

    @staticmethod
    def _status(instance_id: str, picture: Picture) -> str:
        newest = picture.newest(instance_id)
        return newest.status if newest else "sent"

    def _end(self, picture: Picture) -> Done:
        drained: list[dict[str, Any]] = []
        problems: list[str] = []
        for instance_id in self._ids:
            if found := self._good_receipt(instance_id, picture):
                drained.append({"instance_id": instance_id, **found[1].model_dump()})
            else:
                problems.append(self._problem(instance_id, picture))
        if problems:
            raise DrainError(
                f"{self._environment}, fleet {self._name}: {len(drained)} of {len(self._ids)} drained. "
                + " ".join(problems)
            )
        return Done(f"{self._name}: {len(drained)} instances drained", drained)

    def _problem(self, instance_id: str, picture: Picture) -> str:
        """Say why an instance was not drained, and what comes next."""
        state = picture.states.get(instance_id, "")
        if state in GONE:
            self._record(instance_id, {"lost": True})
            return (
                f"{instance_id} went without a receipt that says it is empty (terminated directly, or its "
                f"lifecycle action ended by somebody else or by {self._place.termination_hook}'s timeout): "
                "log lines still buffered there may be lost."
            )
        if state == RETAINED:
            return (
                f"{instance_id} was not drained before its lifecycle hook timed out and is retained, its "
                "log buffers still on its disk: save them, then terminate it by name."
            )
        if state != HELD:
            return f"{instance_id} is {state}, and waits no more."
        return (
            f"{instance_id}: {self._why(picture.newest(instance_id))}; the next run asks it again, until "
            "its lifecycle hook times out."
        )

    def _why(self, newest: Invocation | None) -> str:
        if newest is None:
            return "its SSM agent does not answer; look at the instance"
        if newest.state == "running":
            return f"its drain script did not end in time ({newest.status}); look at its SSM agent"
        if newest.state == "failed":
            return f"draining failed ({newest.status}), it says: {self._said(newest)}"
        try:
            return f"the drain script says success but {self._receipt(newest).rest()}"
        except DrainError as error:
            return str(error).removeprefix(f"{newest.instance_id}: ")

    def _emptied(self, place: Place, invocation: Invocation, receipt: Receipt) -> None:  # noqa: ARG002
        self._record(
            invocation.instance_id, {"command_id": invocation.command_id, "receipt": receipt.model_dump()}
        )

    def _record(self, instance_id: str, facts: dict[str, object]) -> None:
        """Keep what became of an instance; the first record stays."""
        content = {
            "environment": self._environment,
            "fleet": self._name,
            "group": self._place.group,
            "instance_id": instance_id,
            "run": self._owner,
            "at": datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **facts,
        }
        try:
            self._clients.s3.put_object(
                Bucket=self._bucket,
                Key=f"drains/{self._environment}/{instance_id}.json",
                Body=json.dumps(content, indent=2).encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error_code(error) not in CONFLICTS:
                raise  # there already: another attempt, or another run at the same time, wrote it
