"""The seven rollout invariants, checked against the model at every call and at the end of every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.direct import Call
from tools.chaos.truth import Truth, ViolationError, names
from tools.chaos.watch import Watch

ACTING = {
    "autoscaling": (
        "UpdateAutoScalingGroup", "SetDesiredCapacity", "TerminateInstanceInAutoScalingGroup",
        "SuspendProcesses", "ResumeProcesses", "SetInstanceProtection", "CompleteLifecycleAction",
        "RecordLifecycleActionHeartbeat",
    ),
    "ssm": ("SendCommand",),
}  # fmt: skip
"""Calls that change a fleet."""

MEANWHILE = {"CompleteLifecycleAction", "RecordLifecycleActionHeartbeat", "SendCommand"}
"""What may be done without the journal, by drains outside rollouts."""
KEEPING = {"AutoScalingGroupName", "InstanceLifecyclePolicy"}
"""What sets that abandoned instances are kept, which is the same whoever does it."""


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


@dataclass(frozen=True)
class Healthy:
    """What a look at a target group shows.

    :ivar group: the Auto Scaling group behind it.
    """

    group: str
    instances: set[str]


@dataclass
class Actor:
    """A process of a run.

    :ivar owner: the run, as the journal names it.
    :ivar seen: what it was shown last, by group.
    """

    owner: str
    what: str
    seen: dict[str, Seen] = field(default_factory=dict)

    def see(self, group: str) -> Seen:
        """Return what it was shown of a group."""
        return self.seen.setdefault(group, Seen())

    @property
    def rolls(self) -> bool:
        """Whether it is a rollout's: what drains outside rollouts asks nobody."""
        return self.owner.startswith("rolling_deployment_")


class Invariants:
    """Looks at each call before and after it is done, and at what each run leaves.

    :param truths: the environment's fleets by name.
    """

    def __init__(self, truths: Mapping[str, Truth], say: Callable[[str], object]) -> None:
        self._fleets = {name: FleetInvariants(truth) for name, truth in truths.items()}
        self._truths = truths
        self._say = say
        self._watch = Watch(truths)
        self._noted_before: set[str] = set()

    def before(self, actor: Actor, call: Call) -> None:
        """Check what a call is about to do.

        :raises ViolationError: if it may not.
        """
        if call.operation not in ACTING.get(call.service, ()):
            return
        self._say(f"{actor.owner} {actor.what}: {call.operation} {_short(call.params)}")
        journal = next(iter(self._truths.values())).journal()
        if actor.rolls:
            _insist(actor, call, journal)
        elif call.operation not in MEANWHILE and set(call.params) != KEEPING:
            raise ViolationError(5, f"{actor.owner} calls {call.operation}")
        if fleet := self._fleet(call):
            fleet.before(actor, call, journal)

    def after(self, actor: Actor, call: Call) -> None:
        """Check what a call has done."""
        if call.operation in ACTING["autoscaling"] and (fleet := self._fleet(call)):
            fleet.after(actor, call)
        if call.operation == "PutObject" and actor.rolls:
            journal = next(iter(self._truths.values())).journal() or {"fleets": {}}
            for name, record in journal["fleets"].items():
                self._fleets[name].intended(actor, record["surge"])

    def always(self, actor: Actor) -> None:
        """Check what holds after every call, whatever it was and whatever came of it.

        :raises ViolationError: if it does not.
        """
        self._watch.after(actor.owner, rolls=actor.rolls)

    def shown(self, call: Call) -> dict[str, Seen] | Healthy | None:
        """Return what the answer to a call shows now."""
        if call.operation == "DescribeAutoScalingGroups":
            names = call.params.get("AutoScalingGroupNames", self._fleets)
            return {name: self._fleets[name].picture() for name in names}
        if call.operation == "DescribeTargetHealth":
            arn = call.params["TargetGroupArn"]
            for name, truth in self._truths.items():
                if arn in truth.group.target_groups:
                    return Healthy(name, truth.healthy_in(arn))
        return None

    def verified(self, actor: Actor, fleet: str) -> None:
        """Keep what a run was shown when it found a fleet to be as it should be."""
        self._fleets[fleet].verified(actor)

    def red(self, error: BaseException) -> None:
        """Check what a failed run leaves.

        :raises ViolationError: if it does not say why, or took capacity away.
        """
        if len(str(error).split()) < 4:
            raise ViolationError(7, f"a run failed and says only {str(error)!r}")
        for fleet in self._fleets.values():
            fleet.red()

    def ended(self, owner: str, journal: dict[str, Any] | None, *, image_id: str | None = None) -> None:
        """Check what a run leaves that closed its journal: a finished one, or one that was rolled back.

        :param owner: the run; a process of another, which stood still for long, may hold the journal by now
            and has begun to change fleets.
        :param journal: as it was last.
        :param image_id: what all instances have to run; None for whatever the group launches.
        :raises ViolationError: if a fleet is not as it would be without a rollout, but for its image.
        """
        still = next(iter(self._truths.values())).journal()
        if still is not None and still["owner"] == owner:
            raise ViolationError(6, "the run is over and its journal is open")
        if still is None:
            for fleet in self._fleets.values():
                fleet.serves(owner)
                fleet.ended(image_id)
        self._receipts(journal)

    def _receipts(self, journal: dict[str, Any] | None) -> None:
        """Check that each instance that was terminated was emptied, or its loss noted."""
        self._noted_before |= noted(journal)
        for truth in self._truths.values():
            kept = truth.emptied | self._noted_before | truth.recorded()
            lost = [one for one in truth.terminated if one not in kept]
            if lost:
                raise ViolationError(3, f"{names(lost)} went without a receipt, and nobody noted it")

    def _fleet(self, call: Call) -> FleetInvariants | None:
        name = call.params.get("AutoScalingGroupName")
        if name is None:
            instance_id = call.params.get("InstanceId")
            found = (name for name, one in self._truths.items() if instance_id in one.group.members)
            name = next(found, None)
        return self._fleets.get(str(name))


def _insist(actor: Actor, call: Call, journal: dict[str, Any] | None) -> None:
    if journal is None or journal["owner"] != actor.owner:
        holder = journal["owner"] if journal else "nobody"
        raise ViolationError(5, f"{actor.owner} calls {call.operation} while {holder} holds the journal")


def _sizes(surge: dict[str, Any] | None) -> tuple[int, ...] | None:
    return (surge["minimum"], surge["previous"], surge["amount"]) if surge else None


def noted(journal: dict[str, Any] | None) -> set[str]:
    """Return the instances that a journal gives up."""
    fleets = (journal or {}).get("fleets", {}).values()
    return {one for fleet in fleets for field in ("lost", "retained") for one in fleet[field]}


class FleetInvariants:
    """Looks at what is done to one fleet."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._desired_before = 0
        self._sizes_before = (0, 0)
        self._desired_at_end = 0
        """When the rollout changed sizes last."""
        self._desired_seen = 0
        """As a run was shown it when it found that all serve: sizes may be right by then, and are let be."""
        self._intent: dict[str, Any] | None = None
        self._raised = 0
        """By how much a raise that the journal does not know of yet has raised desired capacity."""
        self._verified: dict[str, Seen] = {}
        """What each run was shown when it found that all serve."""

    def before(self, actor: Actor, call: Call, journal: dict[str, Any] | None) -> None:
        """Check what a call is about to do.

        :param journal: as it is.
        :raises ViolationError: if it may not.
        """
        group = self._truth.group
        self._desired_before = group.desired
        self._sizes_before = (group.min_size, group.max_size)
        back = bool(journal and journal["rollback"])
        if actor.rolls and journal and (record := journal["fleets"].get(self._truth.name)):
            self._intended_before(call, record)
        if call.operation == "SetDesiredCapacity" or "DesiredCapacity" in call.params:
            self._sets_desired(call, back=back)
        if call.operation == "TerminateInstanceInAutoScalingGroup":
            self._terminates(actor, str(call.params["InstanceId"]), back=back)
        if call.operation == "CompleteLifecycleAction":
            self._lets_go(call.params, journal, back=back)

    def after(self, actor: Actor, call: Call) -> None:
        """Check what a call has done."""
        truth = self._truth
        if call.operation == "TerminateInstanceInAutoScalingGroup":
            truth.terminated.setdefault(str(call.params["InstanceId"]), actor.owner)
        elif call.operation == "UpdateAutoScalingGroup":
            if {"LaunchTemplate", "MixedInstancesPolicy"} & call.params.keys():
                truth.targets += 1
            self._resized(actor, withdraws="DesiredCapacity" in call.params)
            self._given_back(actor, call.params)
        self._not_doubled()

    def intended(self, actor: Actor, surge: dict[str, Any] | None) -> None:
        """Look at an intent: a size that somebody set to the very number since is taken for ours."""
        group, seen = self._truth.group, actor.see(self._truth.name)
        before, self._intent = self._intent, surge
        if surge and surge["applied"]:
            self._raised = 0
        if _sizes(surge) == _sizes(before):
            return
        if before and not before["applied"] and surge and not surge["applied"]:
            self._noted_anew(before, seen)
        self._raised = 0
        if surge and surge["minimum"] == group.min_size != seen.minimum and seen.expected_minimum:
            self._truth.expected.minimum |= seen.expected_minimum
            self._truth.expected.low -= max(0, group.desired - seen.desired)

    def _noted_anew(self, before: dict[str, Any], seen: Seen) -> None:
        """Let what was raised unseen be others' from here on, where AWS gives no way to tell whose it is.

        New instances were protected anyhow, and both sizes that would tell were changed since.
        """
        theirs = seen.minimum not in {before["minimum"], before["previous"]}
        if before["protected_before"] and theirs and seen.desired != before["minimum"]:
            self._truth.expected.high += self._raised

    def verified(self, actor: Actor) -> None:
        """Keep what a run was shown when it found that all serve."""
        seen = actor.see(self._truth.name)
        self._verified[actor.owner], self._desired_seen = seen, seen.desired

    def _intended_before(self, call: Call, record: dict[str, Any]) -> None:
        """Check that the journal says what a call does before it is done."""
        instance_id = call.params.get("InstanceId")
        if call.operation == "TerminateInstanceInAutoScalingGroup" and instance_id not in record["retired"]:
            raise ViolationError(6, f"{instance_id} is terminated before that is noted")
        raised = int(call.params.get("MinSize", 0)) > self._truth.group.min_size
        if raised and not record["before"]:
            raise ViolationError(6, f"MinSize is raised to {call.params['MinSize']} before that is noted")

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

    def _sets_desired(self, call: Call, *, back: bool) -> None:
        """Judge the one case: a rollback withdraws capacity that nothing was launched for."""
        group = self._truth.group
        wanted = call.params.get("DesiredCapacity")
        if not back or "Launch" not in group.suspended:
            raise ViolationError(2, f"{call.operation} writes desired capacity")
        if wanted is None or int(wanted) < len(self._truth.counting()):
            raise ViolationError(2, f"desired capacity {wanted} lets AWS choose whom to terminate")

    def _resized(self, actor: Actor, *, withdraws: bool) -> None:
        """Judge a change of sizes; what others did since its picture was taken, AWS gives no way to see."""
        group, before, seen = self._truth.group, self._desired_before, actor.see(self._truth.name)
        expected = self._truth.expected
        self._desired_at_end = group.desired
        self._raised += max(0, group.desired - before)
        if self._sizes_before != (seen.minimum, seen.maximum):
            expected.minimum |= seen.expected_minimum
            expected.maximum |= seen.expected_maximum
        if group.desired < before and not withdraws:
            if seen.desired == before:
                raise ViolationError(2, f"desired capacity fell from {before} to {group.desired}")
            expected.low = min(expected.low, group.desired)
        if withdraws:  # what a policy added since the picture goes with it
            expected.low -= max(0, before - seen.desired)
        overwrites_more = seen.minimum < group.min_size < self._sizes_before[0]
        if group.min_size > self._sizes_before[0] or overwrites_more:
            expected.low -= max(0, before - seen.desired)
            expected.high += max(0, seen.desired - before)

    def _given_back(self, actor: Actor, params: dict[str, Any]) -> None:
        """Take a maximum that goes back to desired capacity, which is above it, for as far as it goes."""
        minimum, maximum = self._sizes_before
        back = params.get("MinSize", minimum + 1) <= minimum and params.get("MaxSize", maximum + 1) <= maximum
        desired = {self._truth.group.desired, actor.see(self._truth.name).desired}
        if back and params["MaxSize"] in desired:
            self._truth.expected.maximum.add(params["MaxSize"])

    def _terminates(self, actor: Actor, instance_id: str, *, back: bool) -> None:
        truth, seen = self._truth, actor.see(self._truth.name)
        if instance_id in seen.current and not back:
            raise ViolationError(2, f"{instance_id} is current and is terminated")
        if unasked := truth.group.target_groups.keys() - seen.targets.keys():
            raise ViolationError(
                1, f"{instance_id} is terminated, health in {names(unasked)} not being asked"
            )
        ready = seen.ready - set(truth.terminated)
        if instance_id in ready and len(ready) - 1 < seen.floor:
            raise ViolationError(
                1, f"{instance_id} is terminated: {len(ready) - 1} healthy are left of {seen.floor}"
            )

    def _lets_go(self, params: dict[str, Any], journal: dict[str, Any] | None, *, back: bool) -> None:
        instance_id = str(params.get("InstanceId"))
        result = params["LifecycleActionResult"]
        if instance_id in self._truth.emptied:
            return
        policies = {"CONTINUE" if self._truth.on_failure == "continue" else "ABANDON"}
        if back:
            policies.add("CONTINUE")  # a bad instance holds no rollback up
        if result not in policies:
            raise ViolationError(3, f"{instance_id} is let go ({result}) and its buffers are not empty")
        if instance_id not in noted(journal) | self._truth.recorded():
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

    def red(self) -> None:
        """Check what a failed run leaves.

        :raises ViolationError: if it took capacity away.
        """
        truth = self._truth
        if truth.group.desired < truth.expected.low:
            raise ViolationError(
                7, f"a failed run leaves desired {truth.group.desired}, live target {truth.expected.low}"
            )

    def ended(self, image_id: str | None) -> None:
        """Check what a run leaves that closed its journal.

        :param image_id: what all instances have to run; None for whatever the group launches.
        :raises ViolationError: if it is not as it would be without a rollout, but for its image.
        """
        truth = self._truth
        group, expected = truth.group, truth.expected
        if image_id and truth.launches != image_id:
            raise ViolationError(7, f"{truth.name} launches {truth.launches}, {image_id} ran before")
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
        desired = (self._desired_at_end, self._desired_seen)
        kept_high = {max(one, some, group.min_size) for one in expected.maximum for some in desired}
        if group.max_size not in expected.maximum | kept_high:
            raise ViolationError(4, f"MaxSize is {group.max_size} at the end and was {expected.maximum}")
        if not expected.low <= group.desired <= expected.high + truth.gone_by_others:
            raise ViolationError(
                4, f"desired is {group.desired} at the end, expected {expected.low} to {expected.high}"
            )
        self._all_current()
        truth.targets = 0
        expected.minimum = {group.min_size}
        expected.maximum = expected.maximum & {group.max_size} or expected.maximum | {group.max_size}

    def serves(self, owner: str) -> None:
        """Check that the live target serves at the end of a run, but for what went since the run saw it.

        :param owner: the run.
        :raises ViolationError: if it does not.
        """
        truth, seen = self._truth, self._verified.get(owner)
        if seen is None:
            raise ViolationError(6, f"{owner} is over, and nobody saw whether {truth.name} serves")
        ready, low = truth.ready(), truth.expected.low
        asked = seen.targets.keys() >= truth.group.target_groups.keys()
        went = (len(seen.ready - ready) if asked else 0) + max(0, low - seen.floor)
        # Whoever came back from Standby is left to the next run, sick or not.
        standing = {member.instance_id for member in truth.counting()}
        went += len((truth.returned & standing) - ready)
        if len(ready) + went < low:
            text = f"{len(ready)} of {low} instances of {truth.name} serve at the end"
            raise ViolationError(7, f"{text}, and {went} went since {owner} saw it")

    def _all_current(self) -> None:
        truth = self._truth
        old = {member.instance_id for member in truth.counting()} - truth.current() - truth.returned
        truth.returned = set()
        if old:
            raise ViolationError(6, f"{names(old)} are not current at the end of a run")
        if not truth.expected.protect_new:
            held = [one.instance_id for one in truth.counting() if one.protected]
            held = [one for one in held if one not in truth.protected]
            if held:
                raise ViolationError(4, f"{names(held)} are still protected from scale-in")
        stuck = [one for one in truth.terminated if (found := truth.group.members.get(one)) and found.actions]
        if stuck:
            raise ViolationError(3, f"{names(stuck)} were terminated and still wait at a hook")


def _short(params: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items() if name != "AutoScalingGroupName")
