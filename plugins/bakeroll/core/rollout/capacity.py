"""The arithmetic of a rollout: pure functions of one picture of the fleet and its record in the journal.

``live target`` is the capacity that the fleet would have without the rollout: desired capacity less
what is left of the surge.
"""

from __future__ import annotations

import math

from bakeroll.core.rollout.fleet import Fleet, Instance
from bakeroll.core.rollout.journal import Before, FleetRecord, Surge

REBALANCE = "AZRebalance"
"""Launches and terminates by itself to even out zones, in the middle of a rollout too: suspended."""


def raised(fleet: Fleet, surge: Surge) -> bool:
    """Tell whether the group's settings are as the surge wants them, and may be so by it."""
    return (
        surge.may_stand
        and fleet.minimum >= surge.minimum
        and fleet.maximum >= surge.maximum
        and fleet.new_instances_protected
        and REBALANCE in fleet.suspended
    )


def capacity(fleet: Fleet) -> int:
    """Return desired capacity, also where AWS has yet to raise it to the minimum."""
    return max(fleet.desired, fleet.minimum)


def surge_left(fleet: Fleet, record: FleetRecord) -> int:
    """Return how much of the desired capacity is ours at this moment.

    An instance that we retired took its part with it, whether or not its termination is over.
    """
    surge = record.surge
    if surge is None or not (surge.applied or raised(fleet, surge)):
        return 0
    standing = {instance.instance_id for instance in fleet.counted}
    gone = sum(1 for instance_id in surge.retiring if instance_id not in standing)
    # MinSize goes in the same call as the capacity that is withdrawn: so it tells whether that has happened.
    withdrawn = surge.withdrawn + (surge.withdrawing if fleet.minimum == surge.minimum else 0)
    return max(0, surge.amount - gone - withdrawn)


def live_target(fleet: Fleet, record: FleetRecord) -> int:
    """Return the capacity that the fleet would have if there were no rollout."""
    return max(0, capacity(fleet) - surge_left(fleet, record))


def share_of(live: int, share: str) -> int:
    """Return how many instances a wave's share is.

    :param live: the live target.
    :param share: a number of instances or a percentage of the live target, such as ``25%``.
    """
    wanted = math.ceil(live * int(share[:-1]) / 100) if share.endswith("%") else int(share)
    return min(live, wanted)


def next_surge(fleet: Fleet, record: FleetRecord, share: str) -> Surge | None:
    """Return the surge that this wave needs beyond what stands or is on its way; None if nothing."""
    left = surge_left(fleet, record)
    needed = share_of(live_target(fleet, record), share) - len(fleet.current) - fleet.launching
    if needed <= 0:
        return None
    return surge_upon(fleet, left + needed, needed)


def surge_upon(fleet: Fleet, amount: int, more: int) -> Surge:
    """Return a surge that raises what there is now.

    :param amount: how much of the capacity is ours then.
    :param more: how much is added now.
    """
    base = capacity(fleet)
    peak = base + more
    return Surge(
        amount=amount,
        minimum=peak,
        previous=fleet.minimum,
        maximum=max(fleet.maximum, peak),
        maximum_before=fleet.maximum,
        base=base,
        protected_before=fleet.new_instances_protected,
        attempted_at=None,
    )


def nothing_raised(fleet: Fleet) -> Surge:
    """Return the surge of a wave that needs none: who goes is noted in it all the same."""
    return surge_upon(fleet, 0, 0).model_copy(update={"applied": True})


def without_raise(fleet: Fleet, surge: Surge) -> Surge:
    """Return the surge without a raise that was noted and not done; what it was added to stays ours."""
    base = capacity(fleet) if surge.base is None else surge.base
    earlier = max(0, surge.amount - (surge.minimum - base))
    sizes = {"minimum": surge.previous, "previous": surge.previous}
    if earlier:
        # A person may have lowered the minimum that protects it: so much is set again.
        leaving = sum(one.instance_id in surge.retiring for one in fleet.counted)
        # And others may have lowered desired capacity since: a minimum above it may be above the maximum too.
        sizes["minimum"] = max(surge.previous, min(base, capacity(fleet)) - leaving)
    if surge.maximum_before is not None:
        sizes["maximum"] = max(surge.maximum_before, sizes["minimum"])
    return surge.model_copy(update={"amount": earlier, **sizes, "applied": True})


def lowered(surge: Surge, leaving: int) -> dict[str, int]:
    """Return the sizes with room below desired capacity for as many to go.

    :returns: ``minimum`` and ``previous`` of the surge; a minimum that a person set to 0 leaves room already.
    """
    return {"minimum": max(0, surge.minimum - leaving), "previous": surge.minimum}


def shifted(fleet: Fleet, surge: Surge) -> Surge | None:
    """Return the surge upon a capacity that others have changed since its intent; None if nobody has.

    Until the minimum is raised, a changed desired capacity is theirs: a surge that counted it as its own
    would take it away in the end.
    """
    if surge.applied or surge.base is None or fleet.minimum != surge.previous:
        return None
    if capacity(fleet) == surge.base or was_raised(fleet, surge):
        return None
    return surge_upon(fleet, surge.amount, surge.minimum - surge.base)


def was_raised(fleet: Fleet, surge: Surge) -> bool:
    """Tell whether capacity was raised already, and somebody has changed the minimum since.

    Before it was attempted it was not. The same call protects new instances. (Where they were protected
    anyhow, AWS shows no difference between that and somebody who wanted as many instances more as the
    surge: unless the minimum was changed too, that is taken for theirs.)
    """
    if not surge.may_stand:
        return False
    if not surge.protected_before:
        return fleet.new_instances_protected
    at_peak = capacity(fleet) == surge.minimum
    return fleet.new_instances_protected and at_peak and not surge.owns(fleet.minimum)


def carried_out(fleet: Fleet, surge: Surge) -> bool:
    """Tell whether AWS shows that capacity was raised, whatever somebody has set since."""
    stands = surge.may_stand and fleet.minimum == surge.minimum != surge.previous
    return stands or raised(fleet, surge) or was_raised(fleet, surge)


def owns_maximum(fleet: Fleet, surge: Surge) -> bool:
    """Tell whether the group's MaxSize is one that we set or found, and not somebody else's since.

    It is raised in one call with the minimum: one that changed before that did is theirs, though it be the
    very number that we are about to set.
    """
    unraised = not surge.applied and fleet.minimum == surge.previous and not was_raised(fleet, surge)
    if surge.maximum_before is not None and (unraised or not surge.may_stand):
        return fleet.maximum == surge.maximum_before
    return fleet.maximum in {surge.maximum, surge.maximum_before}


def owns_sizes(fleet: Fleet, surge: Surge) -> bool:
    """Tell whether both of the group's sizes are ones that we set or found, and nobody else's since."""
    return surge.owns(fleet.minimum) and owns_maximum(fleet, surge)


def set_by_others(fleet: Fleet, before: Before, surge: Surge) -> Before:
    """Return what is to be given back in the end, with what somebody changed since capacity was raised.

    Where somebody sets what we had set already (a suspended AZRebalance, say), AWS shows no difference.
    """
    return Before(
        minimum=before.minimum if surge.owns(fleet.minimum) else fleet.minimum,
        maximum=before.maximum if owns_maximum(fleet, surge) else fleet.maximum,
        protected=before.protected and fleet.new_instances_protected,
        suspended=tuple(one for one in before.suspended if one != REBALANCE or one in fleet.suspended),
        standing=before.standing,
    )


def with_theirs(fleet: Fleet, record: FleetRecord, surge: Surge) -> Surge:
    """Return the surge with the sizes that somebody set meanwhile for what stood before it."""
    update: dict[str, object] = {}
    if not owns_maximum(fleet, surge):
        update = {"maximum": max(fleet.maximum, surge.minimum), "maximum_before": fleet.maximum}
    if surge.owns(fleet.minimum):
        return surge.model_copy(update=update)
    if was_raised(fleet, surge):
        update["applied"] = True
        record = record.model_copy(update={"surge": surge.model_copy(update=update)})
    elif not surge.applied and surge.base is not None:
        return surge_upon(fleet, surge.amount, surge.minimum - surge.base)
    update["previous"] = fleet.minimum
    if fleet.minimum > surge.minimum:
        # A minimum above ours has taken so much of our capacity for its own; one below is raised again.
        live = max(live_target(fleet, record), fleet.minimum)
        left = max(0, capacity(fleet) - live)
        update |= {"amount": left, "minimum": fleet.minimum, "outbid": True, "retiring": (), "surplus": ()}
    return surge.model_copy(update=update)


def staying(fleet: Fleet, surge: Surge) -> int:
    """Return how many instances serve and are not about to go.

    Those that were to be retired do not count, whether or not AWS shows them still: a describe may be from
    before their termination.
    """
    return sum(fleet.ready(one) for one in fleet.counted if one.instance_id not in surge.retiring)


def may_go(fleet: Fleet, surge: Surge, instance: Instance, live: int) -> bool:
    """Tell whether the fleet keeps its floor of healthy instances without this one.

    One that does not serve has to stay as well while the floor is not there: it may only look so.
    """
    leaves = fleet.ready(instance) and instance.instance_id not in surge.retiring
    return staying(fleet, surge) - leaves >= live


def next_to_retire(fleet: Fleet, surge: Surge, live: int, most: int) -> list[Instance]:
    """Return old instances that may go now: those first that do not serve anyhow.

    :param live: how many healthy instances must stay.
    :param most: how many at the most.
    """
    spare = staying(fleet, surge) - live
    if spare < 0:
        return []
    idle = [instance for instance in fleet.old if not fleet.ready(instance)]
    serving = [instance for instance in fleet.old if fleet.ready(instance)]
    return (idle + serving[:spare])[:most]


def overhang(fleet: Fleet) -> int:
    """Return by how many instances the group stands above desired capacity for good: all are protected.

    AWS cannot scale in for such a desired capacity, and replaces nobody who goes ("Use instance scale-in
    protection", Auto Scaling user guide). While it may still choose somebody itself there is no overhang.
    """
    held = all(instance.protected for instance in fleet.counted)
    return max(0, len(fleet.counted) - capacity(fleet)) if held else 0


def astray(fleet: Fleet, surge: Surge) -> list[str]:
    """Return instances that were to be retired and are current again: the target went back to theirs."""
    meant = set(surge.retiring) - set(surge.surplus)
    return [one.instance_id for one in fleet.current if one.instance_id in meant]


def came_back(fleet: Fleet, record: FleetRecord) -> list[str]:
    """Return old instances that were there before and are no rollout's victims: a person had put them aside.

    In Standby they counted for nothing, so nothing was raised in their place.
    """
    stood = record.before.standing if record.before else record.stood
    known = set(stood).difference(record.retired)
    return [one.instance_id for one in fleet.old if one.instance_id in known]


def gone(fleet: Fleet, record: FleetRecord, wave: int) -> list[str]:
    """Return what this rollout retired, and what no longer counts: what the wave has to see drained.

    What earlier waves of this run retired they have seen drained. What an earlier run retired is among the
    first wave's.

    :param wave: the wave, counted from 1.
    """
    standing = {instance.instance_id for instance in fleet.counted}
    through = record.exposure.get(str(wave - 1))
    retired = dict.fromkeys(record.retired[through.retired if through else 0 :])
    return [instance_id for instance_id in retired if instance_id not in standing]


def sizes_after(fleet: Fleet, before: Before, surge: Surge | None) -> tuple[int, int]:
    """Return minimum and maximum as they go back; what somebody else set meanwhile stays.

    The maximum never goes below desired capacity, since AWS would then terminate instances of its own
    choice; nor below a minimum that somebody set above it while it was raised.
    """
    minimum, maximum = fleet.minimum, fleet.maximum
    if surge and surge.owns(minimum):
        minimum = before.minimum
    if surge and owns_maximum(fleet, surge):
        maximum = before.maximum
    return minimum, max(maximum, fleet.desired, minimum)
