"""An environment's journal in words for a terminal, and whether a person may end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.errors import JournalError
from bakeroll.core.rollout.journal.records import Before, FleetRecord, Journal, Surge

INSTANCES_A_CALL = 50
"""DescribeAutoScalingInstances takes at most 50 ids (API reference, InstanceIds)."""

WIDTH = 13


def standing(clients: Clients, journal: Journal) -> dict[str, str]:
    """Return the lifecycle states of retired instances that are not gone yet.

    :param journal: the journal.
    """
    ids = [one for record in journal.fleets.values() for one in record.went]
    found: dict[str, str] = {}
    for start in range(0, len(ids), INSTANCES_A_CALL):
        answer = clients.autoscaling.describe_auto_scaling_instances(
            InstanceIds=ids[start : start + INSTANCES_A_CALL]
        )
        found |= {one["InstanceId"]: one["LifecycleState"] for one in answer["AutoScalingInstances"]}
    return found


def hindrances(journal: Journal, states: Mapping[str, str], now: float) -> list[str]:
    """Say why nobody may end a journal by hand; empty if its end changes nothing for any fleet.

    :param states: result of :func:`standing`.
    :param now: seconds since the epoch.
    """
    found = []
    if journal.lease_until > now:
        left = _span(journal.lease_until - now)
        found.append(f"{journal.owner} is at work: its lease runs for {left} more")
    if journal.waits_until and journal.waits_until > now:
        found.append(f"{journal.owner} waits for a person's approval, until {_moment(journal.waits_until)}")
    if journal.image_id and any(record.template_before for record in journal.fleets.values()):
        found.append(f"image {journal.image_id} was being applied, and only here it is known what ran before")
    if journal.release:
        found.append(
            f"the release of {journal.release.run} may not be recorded yet, which a new run finishes"
        )
    for name, record in journal.fleets.items():
        if record.surge:
            found.append(f"capacity of fleet {name} is raised by {record.surge.amount}, to be given back")
        elif record.before:
            found.append(f"settings of {record.group} (fleet {name}) were changed, to be given back")
        if here := [one for one in record.went if one in states]:
            found.append(f"instances retired in fleet {name} are not gone yet: {', '.join(here)}")
    return found


def insist_harmless(clients: Clients, journal: Journal, now: float) -> None:
    """Make sure that a journal may be ended by hand.

    :raises JournalError: with everything that speaks against it, and what to do instead.
    """
    against = hindrances(journal, standing(clients, journal), now)
    if against:
        raise JournalError(
            f"{journal.environment}: the journal stays: {'; '.join(against)}. Mark the run failed if it is "
            f"stuck and start a new run of rolling_deployment_{journal.environment}, which takes it over"
        )


def lines(journal: Journal, states: Mapping[str, str], now: float) -> list[str]:
    """Return the journal, a line for each fact, and how to end it.

    :param states: result of :func:`standing`.
    :param now: seconds since the epoch.
    """
    left = journal.lease_until - now
    lease = f"runs for {_span(left)} more" if left > 0 else f"lapsed {_span(-left)} ago: nobody acts"
    facts = {
        "held by": f"{journal.owner}, epoch {journal.epoch}",
        "lease": lease,
        "opened": f"{_moment(journal.opened_at)}, {_span(now - journal.opened_at)} ago",
        "image": journal.image_id,
        "waits": f"for approval, until {_moment(journal.waits_until)}" if journal.waits_until else None,
        "released": f"by {journal.release.run}, all fleets verified" if journal.release else None,
        **_others(journal, _JOURNAL_SAID),
    }
    found = [_line("", name, value) for name, value in facts.items() if value]
    for name, record in journal.fleets.items():
        found.append(_line("", f"fleet {name}", record.group))
        facts = _fleet_facts(record, states, now)
        found += [_line("  ", fact, value) for fact, value in facts.items() if value]
    return found + _way_out(journal, states, now)


def release_lines(releases: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return releases, a line each.

    :param releases: the newest first, as :func:`bakeroll.core.rollout.journal.releases.newest` gives them.
    """
    found = []
    for one in releases:
        opened = str(one["key"]).rpartition("/")[2][: len("2026-01-01T00-00-00Z")]
        retired = sum(len(ids) for ids in one.get("retired", {}).values())
        outcome = f"  ({one['outcome']})" if "outcome" in one else ""
        found.append(f"  {opened}  {one.get('image_id')}  {retired} replaced  {one.get('run')}{outcome}")
    return found


def _fleet_facts(record: FleetRecord, states: Mapping[str, str], now: float) -> dict[str, str | None]:
    ends = sorted(record.deadlines.items(), key=lambda item: item[1])
    return {
        "waves": ", ".join(record.waves),
        "before": _before(record.before) if record.before else None,
        "template": f"version {record.template_before} ran before" if record.template_before else None,
        "raised": _raised(record.surge) if record.surge else None,
        "retired": _named(record.went, states),
        "lost": _named(record.lost, states),
        "retained": _named(record.retained, states),
        "deadlines": ", ".join(f"{step} {_when(end, now)}" for step, end in ends),
        **_others(record, _FLEET_SAID),
    }


def _before(before: Before) -> str:
    protected = "protected" if before.protected else "not protected"
    suspended = f", suspended: {', '.join(before.suspended)}" if before.suspended else ""
    return f"MinSize {before.minimum}, MaxSize {before.maximum}, new instances {protected}{suspended}"


def _raised(surge: Surge) -> str:
    done = "done" if surge.applied else "intended, not seen to be done"
    going = f", terminating {', '.join(surge.retiring)}" if surge.retiring else ""
    sizes = f"MinSize {surge.previous} -> {surge.minimum}, MaxSize {surge.maximum}"
    return f"by {surge.amount}: {sizes}, {done}{going}"


_JOURNAL_SAID = frozenset(
    {
        "version",
        "environment",
        "owner",
        "epoch",
        "lease_until",
        "opened_at",
        "image_id",
        "waits_until",
        "release",
        "fleets",
    }
)
_FLEET_SAID = frozenset(
    {
        *("group", "launch_template_id", "termination_hook", "drain_document", "waves", "template_before"),
        *("stood", "before", "surge", "retired", "lost", "retained", "deadlines"),
    }
)


def _others(record: Journal | FleetRecord, said: frozenset[str]) -> dict[str, str | None]:
    """Return what else there is, by the names that the journal has for it."""
    left = record.model_dump(exclude=set(said), exclude_defaults=True, mode="json")
    return {name.replace("_", " "): str(value) for name, value in left.items()}


def _way_out(journal: Journal, states: Mapping[str, str], now: float) -> list[str]:
    against = hindrances(journal, states, now)
    run = f"start a new run of rolling_deployment_{journal.environment}: it takes the journal over"
    if not against:
        return ["To end it", f"  {run},", f"  or delete it: make journal ENV={journal.environment} END=1"]
    return [
        "To end it",
        "  wait for the run, or mark it failed in the UI;",
        f"  then {run}",
        "  and gives back or finishes what is open.",
        "It cannot be deleted by hand:",
        *(f"  - {reason}" for reason in against),
    ]


def _named(instance_ids: Sequence[str], states: Mapping[str, str]) -> str:
    return ", ".join(f"{one} ({states[one]})" if one in states else f"{one} (gone)" for one in instance_ids)


def _line(indent: str, name: str, value: str) -> str:
    return f"{indent}{name:<{WIDTH - len(indent)}} {value}"


def _when(moment: float, now: float) -> str:
    return f"in {_span(moment - now)}" if moment > now else f"passed {_span(now - moment)} ago"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(seconds: float) -> str:
    """Say a length of time as a person would, such as ``42 s`` or ``3 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
