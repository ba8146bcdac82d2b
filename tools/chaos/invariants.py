"""The seven rollout invariants, checked against the model at every call and at the end of every run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.direct import Call
from tools.chaos.truth import Truth, names

ACTING = {
    "autoscaling": (
        "UpdateAutoScalingGroup", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup",
        "SuspendProcesses", "ResumeProcesses", "SetInstanceProtection", "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
    ),
    "ssm": ("SendCommand",),
}  # fmt: skip
"""Calls that change a fleet."""


class ViolationError(AssertionError):
    """An invariant does not hold.

    :param number: the invariant's, 1 to 7; 0 for an error that nobody foresaw.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"invariant {number}: {text}")
        self.number = number
        self.text = text


@dataclass
class Seen:
    """What a task knew when it last looked: what its answers showed, which may be from the past."""

    in_service: set[str] = field(default_factory=set)
    targets: dict[str, set[str]] = field(default_factory=dict)
    """The healthy instances by target group, as far as they were asked for since."""
    current: set[str] = field(default_factory=set)
    desired: int = 0
    floor: int = 0
    minimum: int = 0
    maximum: int = 0
    expected_minimum: set[int] = field(default_factory=set)
    expected_maximum: set[int] = field(default_factory=set)

    @property
    def ready(self) -> set[str]:
        """Ids of the instances that seemed to serve."""
        return self.in_service.intersection(*self.targets.values())


@dataclass
class Actor:
    """A process of a run.

    :ivar owner: the run, as the journal names it.
    """

    owner: str
    what: str
    seen: Seen = field(default_factory=Seen)


class Invariants:
    """Looks at each call of a rollout before and after it is done."""

    def __init__(self, truth: Truth, say: Callable[[str], object]) -> None:
        self._truth = truth
        self._say = say
        self._desired_before = 0
        self._sizes_before = (0, 0)
        self._desired_at_end = 0
        self._noted_before: set[str] = set()

    def before(self, actor: Actor, call: Call) -> None:
        """Check what a call is about to do.

        :raises ViolationError: if it may not.
        """
        truth = self._truth
        self._desired_before = truth.group.desired
        self._sizes_before = (truth.group.min_size, truth.group.max_size)
        if call.operation not in ACTING.get(call.service, ()):
            return
        self._say(f"{actor.owner} {actor.what}: {call.operation} {_short(call.params)}")
        journal = truth.journal()
        if journal is None or journal["owner"] != actor.owner:
            holder = journal["owner"] if journal else "nobody"
            raise ViolationError(5, f"{actor.owner} calls {call.operation} while {holder} holds the journal")
        if call.operation == "SetDesiredCapacity" or "DesiredCapacity" in call.params:
            raise ViolationError(2, f"{call.operation} writes desired capacity")
        if call.operation == "TerminateInstanceInAutoScalingGroup":
            self._terminates(actor, str(call.params["InstanceId"]))
        if call.operation == "CompleteLifecycleAction":
            self._lets_go(call.params)

    def after(self, actor: Actor, call: Call) -> None:
        """Check what a call has done."""
        truth = self._truth
        if call.operation == "TerminateInstanceInAutoScalingGroup":
            truth.terminated.setdefault(str(call.params["InstanceId"]), actor.owner)
        elif call.operation == "UpdateAutoScalingGroup":
            self._resized(actor)
        if call.operation in ACTING["autoscaling"]:
            self._not_doubled()

    def picture(self) -> Seen:
        """Return what a look at the group shows now."""
        truth, group = self._truth, self._truth.group
        return Seen(
            in_service=truth.in_service(),
            current=truth.current(),
            desired=group.desired,
            floor=truth.expected.low,
            minimum=group.min_size,
            maximum=group.max_size,
            expected_minimum=set(truth.expected.minimum),
            expected_maximum=set(truth.expected.maximum),
        )

    def _resized(self, actor: Actor) -> None:
        """Judge a change of sizes; what others did since its picture was taken, AWS gives no way to see."""
        group, before, seen = self._truth.group, self._desired_before, actor.seen.desired
        expected = self._truth.expected
        self._desired_at_end = group.desired
        if self._sizes_before != (actor.seen.minimum, actor.seen.maximum):
            expected.minimum |= actor.seen.expected_minimum
            expected.maximum |= actor.seen.expected_maximum
        if group.desired < before and seen == before:
            raise ViolationError(2, f"desired capacity fell from {before} to {group.desired}")
        if group.desired > before:
            expected.low -= max(0, before - seen)
            expected.high += max(0, seen - before)

    def _terminates(self, actor: Actor, instance_id: str) -> None:
        truth, seen = self._truth, actor.seen
        if instance_id in seen.current:
            raise ViolationError(2, f"{instance_id} is current and is terminated")
        ready = seen.ready - set(truth.terminated)
        if instance_id in ready and len(ready) - 1 < seen.floor:
            raise ViolationError(
                1, f"{instance_id} is terminated: {len(ready) - 1} healthy are left of {seen.floor}"
            )

    def _lets_go(self, params: dict[str, Any]) -> None:
        instance_id = str(params.get("InstanceId"))
        result = params["LifecycleActionResult"]
        if instance_id in self._truth.emptied:
            return
        policy = "CONTINUE" if self._truth.on_failure == "continue" else "ABANDON"
        if result != policy:
            raise ViolationError(3, f"{instance_id} is let go ({result}) and its buffers are not empty")
        if instance_id not in self._noted(self._truth.journal()):
            raise ViolationError(3, f"{instance_id} is given up ({result}) before that is noted")

    def _not_doubled(self) -> None:
        truth = self._truth
        expected = truth.expected
        # A scale-in that AWS has yet to carry out leaves more to be replaced than the live target.
        expected.peak = max(expected.peak, expected.high, len(truth.counting()) - len(truth.current()))
        most = (1 + truth.targets) * expected.peak + truth.gone_by_others
        if truth.group.desired > most:
            raise ViolationError(
                6, f"desired capacity is {truth.group.desired}, with every surge it may be {most}"
            )

    def red(self, error: BaseException) -> None:
        """Check what a failed run leaves.

        :raises ViolationError: if it does not say why, or took capacity away.
        """
        if len(str(error).split()) < 4:
            raise ViolationError(7, f"a run failed and says only {str(error)!r}")
        truth = self._truth
        if truth.group.desired < truth.expected.low:
            raise ViolationError(
                7, f"a failed run leaves desired {truth.group.desired}, live target {truth.expected.low}"
            )

    def green(self) -> None:
        """Check what a finished run leaves.

        :raises ViolationError: if the fleet is not as it would be without a rollout, but on the new image.
        """
        truth = self._truth
        group, expected = truth.group, truth.expected
        if truth.journal() is not None:
            raise ViolationError(6, "the run is over and its journal is open")
        kept = {
            "scale-in protection of new instances": (group.protect_new, expected.protect_new),
            "suspended processes": (set(group.suspended), expected.suspended),
        }
        for what, (found, wanted) in kept.items():
            if found != wanted:
                raise ViolationError(4, f"{what} is {found} at the end and was {wanted}")
        if group.min_size not in expected.minimum:
            raise ViolationError(4, f"MinSize is {group.min_size} at the end and was {expected.minimum}")
        # Where a policy used the room up to the raised maximum, that is lowered to desired capacity only.
        kept_high = {max(one, self._desired_at_end) for one in expected.maximum}
        if group.max_size not in expected.maximum | kept_high:
            raise ViolationError(4, f"MaxSize is {group.max_size} at the end and was {expected.maximum}")
        if not expected.low <= group.desired <= expected.high + truth.gone_by_others:
            raise ViolationError(
                4, f"desired is {group.desired} at the end, expected {expected.low} to {expected.high}"
            )
        self._all_current()
        truth.targets = 0
        expected.minimum, expected.maximum = (
            {group.min_size},
            expected.maximum & {group.max_size} or expected.maximum,
        )

    def _all_current(self) -> None:
        truth = self._truth
        old = {member.instance_id for member in truth.counting()} - truth.current()
        if old:
            raise ViolationError(6, f"{names(old)} are not current at the end of a green run")
        if not truth.expected.protect_new:
            held = [member.instance_id for member in truth.counting() if member.protected]
            if held:
                raise ViolationError(4, f"{names(held)} are still protected from scale-in")
        stuck = [one for one in truth.terminated if (found := truth.group.members.get(one)) and found.actions]
        if stuck:
            raise ViolationError(3, f"{names(stuck)} were terminated and still wait at a hook")

    def receipts(self, journal: dict[str, Any] | None) -> None:
        """Check at the end of a run that each instance it terminated was emptied, or its loss noted.

        :param journal: as it was last before it was closed.
        """
        self._noted_before |= self._noted(journal)
        noted = self._noted_before
        lost = [one for one in self._truth.terminated if one not in self._truth.emptied | noted]
        if lost:
            raise ViolationError(3, f"{names(lost)} went without a receipt, and nobody noted it")

    @staticmethod
    def _noted(journal: dict[str, Any] | None) -> set[str]:
        """Return the instances that the journal gives up."""
        fleets = (journal or {}).get("fleets", {}).values()
        return {one for fleet in fleets for field in ("lost", "retained") for one in fleet[field]}


def _short(params: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items() if name != "AutoScalingGroupName")
