"""Look, before anything moves, whether a rollout can be carried through; all that is wrong is said at once.

Nothing is changed here. Problems stop a run, notes go into its log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bakeroll.core import config
from bakeroll.core.aws import Clients
from bakeroll.core.errors import PreflightError
from bakeroll.core.rollout.journal import Journal
from bakeroll.core.rollout.preflight import gate_check, headroom
from bakeroll.core.rollout.preflight.fleet_check import FleetCheck
from bakeroll.core.rollout.preflight.headroom import Findings, Need

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef


def look(clients: Clients, journal: Journal, settings: Mapping[str, config.Fleet], now: float) -> Findings:
    """Look at all fleets of an environment.

    :param journal: the open journal, which names the fleets.
    :param settings: the environment file's fleets.
    :param now: seconds since the epoch.
    """
    found = Findings()
    needs: list[Need] = []
    groups = _groups(clients, [record.group for record in journal.fleets.values()])
    for name, record in journal.fleets.items():
        if record.group not in groups:
            found.notes.append(f"fleet {name}: {record.group} does not exist yet; the plan makes it")
            continue
        check = FleetCheck(
            clients, name, record, asg=groups[record.group], settings=settings.get(name), now=now
        )
        need = check.look()
        needs += [need] if need else []
        found.problems += [f"fleet {name}: {problem}" for problem in check.found.problems]
        found.notes += [f"fleet {name}: {note}" for note in check.found.notes]
        if name in settings:
            unanswered = gate_check.problems(clients, record.group, settings[name].gate)
            found.problems += [f"fleet {name}: {problem}" for problem in unanswered]
    room = headroom.vcpus(clients, needs)
    return Findings(found.problems + room.problems, found.notes + room.notes)


def insist(environment: str, found: Findings) -> None:
    """Refuse a run that would not come to its end.

    :raises PreflightError: with every problem, one a line.
    """
    if len(found.problems) == 1:
        raise PreflightError(f"{environment}: {found.problems[0]}. Nothing was changed")
    if found.problems:
        lines = "".join(f"\n- {problem}" for problem in found.problems)
        raise PreflightError(
            f"{environment}: {len(found.problems)} things stand in the way; nothing was changed:{lines}"
        )


def _groups(clients: Clients, names: Sequence[str]) -> dict[str, AutoScalingGroupTypeDef]:
    if not names:
        return {}  # no names would mean all groups of the account
    pages = clients.autoscaling.get_paginator("describe_auto_scaling_groups").paginate(
        AutoScalingGroupNames=list(names)
    )
    return {asg["AutoScalingGroupName"]: asg for page in pages for asg in page["AutoScalingGroups"]}
