"""Which instances a scale-in ends: balance between zones first, then the group's termination policies.

Source: Auto Scaling user guide, "Configure termination policies for Amazon EC2 Auto Scaling". Scale-in
protected instances are never chosen; what the documentation leaves open is drawn at random.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from sandbox.model.autoscaling.state import COUNTING, Group, Member

HOUR_SECONDS = 3600.0
Candidates = dict[str, list[tuple[tuple[float, ...], int, Member]]]
"""Per zone, the next to end last: its key, a number that makes it unique, and the member."""


def victims(group: Group, number: int, *, now: float, random: random.Random) -> list[Member]:
    """Choose instances to end.

    :param now: seconds since the epoch, for the policy that looks at billing hours.
    :return: at most ``number``; fewer if the others are protected or may not be ended.
    """
    counting = [member for member in group.members.values() if member.state in COUNTING]
    counts = Counter(member.zone for member in counting)
    candidates: Candidates = {}
    for order, member in enumerate(counting):
        # "Suspending the Terminate process applies only to instances that are currently InService."
        allowed = member.state != "InService" or group.active("Terminate")
        if allowed and not member.protected:
            key = (*_key(group, member, now), random.random())
            candidates.setdefault(member.zone, []).append((key, order, member))
    for ordered in candidates.values():
        ordered.sort(reverse=True)
    enabled = set(group.subnets.values())
    chosen: list[Member] = []
    while len(chosen) < number and candidates:
        zone = _fullest(candidates, counts, enabled)
        chosen.append(candidates[zone].pop()[2])
        counts[zone] -= 1
        if not candidates[zone]:
            del candidates[zone]
    return chosen


def _fullest(candidates: Candidates, counts: Counter[str], enabled: set[str]) -> str:
    disabled = [zone for zone in candidates if zone not in enabled]
    if disabled:
        return disabled[0]
    most = max(counts[zone] for zone in candidates)
    fullest = [zone for zone in candidates if counts[zone] == most]
    # Zones in balance compete: the policies decide between their next candidates.
    return min(fullest, key=lambda zone: candidates[zone][-1][0])


def _key(group: Group, member: Member, now: float) -> tuple[float, ...]:
    parts: list[float] = []
    for policy in group.termination_policies:
        parts.extend(_one(policy, group, member, now))
    return tuple(parts)


def _one(policy: str, group: Group, member: Member, now: float) -> Sequence[float]:
    if policy == "OldestInstance":
        return (member.launched,)
    if policy == "NewestInstance":
        return (-member.launched,)
    if policy == "ClosestToNextInstanceHour":
        return (_until_next_hour(member, now),)
    if policy == "OldestLaunchTemplate":
        return _template_age(group, member)
    return (*_template_age(group, member), _until_next_hour(member, now))


def _template_age(group: Group, member: Member) -> tuple[float, float]:
    # Another launch template than the group's goes first, then its own oldest version.
    if member.template is None or member.template.template_id != group.template.template_id:
        return (0.0, 0.0)
    return (1.0, float(member.template.version))


def _until_next_hour(member: Member, now: float) -> float:
    return HOUR_SECONDS - (now - member.launched) % HOUR_SECONDS
