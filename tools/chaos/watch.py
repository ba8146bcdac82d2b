"""What is judged after every single call, whoever made it and whatever came of it: the journal and the floor.

All of it is true of the model itself at any moment, so that it needs no picture that a task was shown. Only
what changed since the last call is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.chaos.truth import Truth, ViolationError, names

Record = dict[str, Any]


class Watch:
    """Looks at the fleets and at the journal after each call.

    :param truths: the environment's fleets by name.
    """

    def __init__(self, truths: Mapping[str, Truth]) -> None:
        self._truths = truths
        self._any = next(iter(truths.values()))
        self._journal: Record | None = None
        self._lowest: dict[str, tuple[int, int]] = {}

    def after(self, owner: str, *, rolls: bool) -> None:
        """Look after a call.

        :param owner: whose call it was.
        :param rolls: whether that is a rollout.
        :raises ViolationError: if something does not hold.
        """
        for name, truth in self._truths.items():
            low = truth.group.desired, truth.expected.low
            if self._lowest.get(name) != low:
                self._lowest[name] = low
                if low[0] < low[1]:
                    raise ViolationError(
                        1, f"desired capacity of {name} is {low[0]}, its live target {low[1]}"
                    )
        journal = self._any.journal()
        if journal is self._journal:
            return
        before, self._journal = self._journal, journal
        if not rolls:
            raise ViolationError(5, f"{owner} changed the journal")
        if before is None or journal is None:
            self._opened_or_closed(owner, before or journal or {}, opened=before is None)
        else:
            self._changed(owner, before, journal)
        for name, record in (journal or {"fleets": {}})["fleets"].items():
            consistent(name, record)

    @staticmethod
    def _opened_or_closed(owner: str, journal: Record, *, opened: bool) -> None:
        if journal["owner"] != owner:
            raise ViolationError(
                5, f"{owner} {'opened' if opened else 'deleted'} {journal['owner']}'s journal"
            )
        raised = [name for name, record in journal["fleets"].items() if record["surge"]]
        if raised:
            raise ViolationError(4, f"the journal is gone, and capacity of {names(raised)} is still raised")

    def _changed(self, owner: str, before: Record, now: Record) -> None:
        if now["owner"] != owner:
            raise ViolationError(5, f"{owner} changed the journal of {now['owner']}")
        if now["epoch"] == before["epoch"]:
            if now["owner"] != before["owner"]:
                raise ViolationError(5, f"{owner} took the journal over and epoch {now['epoch']} stayed")
            _same_rollout(before, now)
        elif now["epoch"] != before["epoch"] + 1 or now["owner"] == before["owner"]:
            raise ViolationError(5, f"epoch {before['epoch']} of {before['owner']} became {now['epoch']}")
        elif before["lease_until"] > self._any.aws.clock.now():
            left = before["lease_until"] - self._any.aws.clock.now()
            raise ViolationError(
                5, f"{owner} took the journal over while its lease ran for {left:.0f} s more"
            )
        for name in before["fleets"].keys() & now["fleets"].keys():
            _grows(name, before["fleets"][name], now["fleets"][name])
            if before["fleets"][name]["launch_held"] and not now["fleets"][name]["launch_held"]:
                self._launches_again(name)

    def _launches_again(self, name: str) -> None:
        """Check that nobody forgets that we suspended a group's launches: nobody else would resume them."""
        truth = self._truths[name]
        if "Launch" in truth.group.suspended and "Launch" not in truth.expected.suspended:
            raise ViolationError(
                4, f"Launch of {name} is suspended, and no journal says any more that it was us"
            )


def _same_rollout(before: Record, now: Record) -> None:
    """Check what stays the same for as long as one run holds the journal."""
    if before["opened_at"] != now["opened_at"]:
        raise ViolationError(6, "the journal was opened twice")
    if before["rollback"] and now["rollback"] and before["rollback"]["cause"] != now["rollback"]["cause"]:
        raise ViolationError(7, f"the cause of the rollback became {now['rollback']['cause']!r}")
    for name in before["fleets"].keys() & now["fleets"].keys():
        was, found = before["fleets"][name], now["fleets"][name]
        moved = [
            step
            for step in was["deadlines"].keys() & found["deadlines"].keys()
            if was["deadlines"][step] != found["deadlines"][step]
        ]
        if moved:
            raise ViolationError(6, f"{name}: the deadline of {names(moved)} was moved")
        lost = was["exposure"].keys() - found["exposure"].keys()
        if lost:
            raise ViolationError(6, f"{name}: what came of wave {names(lost)} was forgotten")
        for what in ("protected", "suspended", "standing"):  # sizes may follow what a person sets meanwhile
            if was["before"] and found["before"] and was["before"][what] != found["before"][what]:
                raise ViolationError(4, f"{name}: {what} before the rollout became {found['before'][what]}")


def _grows(name: str, before: Record, now: Record) -> None:
    """Check what is only ever added to, whoever holds the journal."""
    if now["retired"][: len(before["retired"])] != before["retired"]:
        raise ViolationError(6, f"{name}: retired instances were forgotten: {before['retired']}")
    for what in ("undrained", "let_go", "told"):
        if forgotten := set(before[what]) - set(now[what]):
            raise ViolationError(3, f"{name}: {what} has no {names(forgotten)} any more")


def consistent(name: str, record: Record) -> None:
    """Check that a fleet's record does not contradict itself.

    :param name: the fleet's.
    :raises ViolationError: if it does.
    """
    lost, retained, undrained = set(record["lost"]), set(record["retained"]), set(record["undrained"])
    if lost & retained:
        raise ViolationError(3, f"{name}: {names(lost & retained)} are lost and retained at once")
    if undrained != lost | retained:
        raise ViolationError(
            3, f"{name}: no reason, or no outcome, of {names(undrained ^ (lost | retained))}"
        )
    if unknown := (undrained | set(record["told"])) - set(record["retired"]):
        raise ViolationError(3, f"{name}: {names(unknown)} were given up and never retired")
    surge = record["surge"]
    if surge is None:
        return
    if not record["before"]:
        raise ViolationError(4, f"{name}: capacity is raised and nobody knows what it was before")
    negative = [what for what, value in surge.items() if isinstance(value, int) and value < 0]
    if negative:
        raise ViolationError(4, f"{name}: {names(negative)} of the surge is negative: {surge}")
    if surge["maximum"] < surge["minimum"]:
        raise ViolationError(4, f"{name}: MaxSize {surge['maximum']} below MinSize {surge['minimum']}")
    if unknown := set(surge["retiring"]) - set(record["retired"]):
        raise ViolationError(6, f"{name}: {names(unknown)} are terminated and not noted as retired")
    if unknown := set(surge["surplus"]) - set(surge["retiring"]):
        raise ViolationError(6, f"{name}: {names(unknown)} are surplus and not to go")
