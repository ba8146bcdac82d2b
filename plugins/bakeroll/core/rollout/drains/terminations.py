"""Find the instances that wait to be drained although no rollout retired them.

A scaling policy, a rebalance between zones, a health check or a person terminates instances too. What
waits, AWS tells; what a live rollout retired is left to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code, error_text
from bakeroll.core.config_types import LONGEST_SECONDS
from bakeroll.core.rollout.drains import commands, undrained
from bakeroll.core.rollout.drains.commands import Invocation
from bakeroll.core.rollout.drains.emptying import at_work
from bakeroll.core.rollout.drains.undrained import Records, Undrained
from bakeroll.core.rollout.journal import Journal
from bakeroll.core.rollout.journal.known_fleets import KnownFleet
from bakeroll.core.rollout.lifecycle_actions import HELD, RETAINED, heartbeat
from bakeroll.core.rollout.waves import DRAIN_CHUNK

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient


@dataclass(frozen=True)
class Found:
    """What a look at an environment's groups showed.

    :ivar chunks: what is to be drained, as plain values: ``fleet`` and at most 50 ``instance_ids``.
    :ivar told: lines for the log.
    :ivar retained: ids by fleet of the instances that were not drained and wait for a person.
    """

    chunks: list[dict[str, object]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    retained: dict[str, list[str]] = field(default_factory=dict)


def find(clients: Clients, fleets: Mapping[str, KnownFleet], journal: Journal | None, now: float) -> Found:
    """Look at all groups of an environment, and tell who has to be drained by whom.

    Instances that a drain is at already are left to it: then one that is slow or stuck keeps no later ones
    waiting. Should nobody be there any more who waits for that drain, the look that follows it finds the
    receipt, or asks again. The hooks of all that wait are told that somebody is there, so that none times out
    between two looks.

    :param fleets: the fleets by name.
    :param journal: the environment's journal; None if no rollout is open.
    :param now: seconds since the epoch.
    """
    found = Found()
    groups = {fleet.group: name for name, fleet in fleets.items()}
    theirs = left_to_rollout(journal, now)
    if not groups:
        return found
    pages = clients.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        AutoScalingGroupNames=sorted(groups)
    )
    for page in pages:
        for group in page["AutoScalingGroups"]:
            name = groups[group["AutoScalingGroupName"]]
            states = {one["InstanceId"]: one["LifecycleState"] for one in group.get("Instances", [])}
            if kept := [one for one, state in states.items() if state == RETAINED]:
                found.retained[name] = kept
            waiting = [one for one, state in states.items() if state == HELD]
            if journal and (left := [one for one in waiting if one in theirs]):
                found.told.append(f"{name}: {', '.join(left)} left to {journal.owner}, which retired them")
                for instance_id in left:
                    heartbeat(clients, fleets[name], instance_id)
            _sort(
                clients,
                name,
                fleets[name],
                [one for one in waiting if one not in theirs],
                now=now,
                found=found,
            )
    return found


def tell_of_retained(
    clients: Clients,
    bucket: str,
    environment: str,
    fleets: Mapping[str, KnownFleet],
    *,
    found: Found,
    run: str,
    now: float,
) -> list[str]:
    """Tell people, once, of instances that were retained while nobody was there: their hook timed out.

    :param bucket: the state bucket, where it is kept of whom they know.
    :param run: the run that looks, ``<dag id>/<run id>``.
    :return: lines for the log, where nobody could be told.
    """
    lines = []
    for name, instance_ids in found.retained.items():
        records = Records(clients, bucket, environment, fleet=name, group=fleets[name].group, run=run)
        why = f"nobody drained it before {fleets[name].termination_hook} timed out"
        news = [Undrained(one, "retained", why) for one in instance_ids if not records.known(one)]
        if not news:
            continue
        if untold := undrained.tell(clients, environment, name, run, news):
            lines.append(f"nobody could be told of {', '.join(one.instance_id for one in news)}: {untold}")
        for one in news:
            records.write(one.instance_id, now, one.facts)
    return lines


def left_to_rollout(journal: Journal | None, now: float) -> set[str]:
    """Return the instances that a live rollout retired and will drain itself.

    Where the lease has lapsed nobody acts: the run is dead or has failed. Whoever takes it over finds the
    receipts of drains that were made meanwhile, as they are of the same document.
    """
    if journal is None or journal.lease_until <= now:
        return set()
    return {instance_id for record in journal.fleets.values() for instance_id in record.retired}


def _sort(
    clients: Clients, name: str, fleet: KnownFleet, waiting: list[str], *, now: float, found: Found
) -> None:
    """Put those that wait into chunks, but for those that a drain is at."""
    if not waiting:
        return
    began = termination_times(clients.autoscaling, fleet.group, waiting, now)
    asked = asked_since(clients, fleet.drain_document, began)
    free: list[str] = []
    for instance_id in waiting:
        newest = next((one for one in asked[instance_id] if at_work(one, fleet.drain_timeout, now)), None)
        heartbeat(clients, fleet, instance_id)
        if newest:
            found.told.append(f"{name}: {instance_id} is being drained ({newest.status})")
        else:
            free.append(instance_id)
    if free:
        found.told.append(f"{name}: {', '.join(free)} waiting to be drained")
    found.chunks.extend(
        {"fleet": name, "instance_ids": free[start : start + DRAIN_CHUNK]}
        for start in range(0, len(free), DRAIN_CHUNK)
    )


def asked_since(clients: Clients, document: str, began: Mapping[str, float]) -> dict[str, list[Invocation]]:
    """Return each instance's drains since its termination began, the newest first.

    What was asked before, perhaps by a person who tried the document, says nothing of the log lines that
    were written since.

    :param document: the drain document's name.
    :param began: result of :func:`termination_times`, of one instance at least.
    """
    known = commands.invocations(clients.ssm, document, min(began.values()))
    return {
        instance_id: [one for one in known.get(instance_id, []) if one.requested_at >= when]
        for instance_id, when in began.items()
    }


def termination_times(
    autoscaling: AutoScalingClient, group: str, instance_ids: Collection[str], now: float
) -> dict[str, float]:
    """Return when each instance's newest termination began, in seconds since the epoch.

    :param group: name of the Auto Scaling group.
    :param now: seconds since the epoch; no lifecycle action is older than 48 hours.
    """
    earliest = now - LONGEST_SECONDS
    began: dict[str, float] = {}
    for when, description in _activities(autoscaling, group):
        if when < earliest or len(began) == len(instance_ids):
            break
        if description.startswith("Terminating"):
            for instance_id in instance_ids:
                if instance_id in description:
                    began.setdefault(instance_id, when)
    return {**dict.fromkeys(instance_ids, earliest), **began}


def _activities(autoscaling: AutoScalingClient, group: str) -> Iterator[tuple[float, str]]:
    """Yield start and description of a group's scaling activities, the newest first; none if it is gone.

    Source: API reference, DescribeScalingActivities.
    """
    pages = autoscaling.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=group)
    try:
        for page in pages:
            for activity in page["Activities"]:
                yield activity["StartTime"].timestamp(), activity.get("Description", "")
    except ClientError as error:
        if error_code(error) != "ValidationError" or "not found" not in error_text(error):
            raise
