"""What AWS says of a fleet whose rollout has failed, in its own words, for the task that failed."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.aws import Clients
from bakeroll.core.errors import BakerollError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout import health
from bakeroll.core.rollout.drains import commands
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.journal import FleetRecord, Journal

LONGEST = 2000
"""Characters of each piece; the whole has to fit into a task's result."""
ACTIVITIES = 5
TARGETS = 5


def gather(clients: Clients, journal: Journal, name: str) -> dict[str, str]:
    """Return the evidence that there is of one fleet, by kind; what cannot be read is said.

    :param journal: the journal of the rollout.
    :param name: the fleet.
    """
    record = journal.fleets.get(name)
    if record is None:
        return {}
    try:
        picture = fleets.describe(clients, name, record.group)
        found = {
            "scaling activities": _activities(clients, picture, journal),
            "target health": _targets(picture),
            **_console(clients, picture),
            **_commands(clients, record, journal),
        }
    except (BakerollError, BotoCoreError, ClientError) as error:
        found = {"evidence": f"AWS could not be asked for it: {error}"}
    return {kind: text[-LONGEST:] for kind, text in found.items() if text}


def _activities(clients: Clients, picture: Fleet, journal: Journal) -> str:
    failed = health.failed_launches(clients.autoscaling, picture.group, since=journal.opened_at)
    return "\n".join(dict.fromkeys(one.message for one in failed[:ACTIVITIES]))


def _suspects(picture: Fleet) -> list[fleets.Instance]:
    """Return the instances to look at: of the new ones those first that do not serve."""
    return sorted(picture.current, key=picture.ready)


def _targets(picture: Fleet) -> str:
    said = [
        f"{instance.instance_id} {target.state}: {target.reason}"
        for instance in _suspects(picture)
        for target in instance.targets
        if target.reason
    ]
    return "\n".join(said[:TARGETS])


def _console(clients: Clients, picture: Fleet) -> dict[str, str]:
    for instance in _suspects(picture)[:1]:
        said = health.console_output(clients.ec2, instance.instance_id)
        return {f"console of {instance.instance_id}": said}
    return {}


def _commands(clients: Clients, record: FleetRecord, journal: Journal) -> dict[str, str]:
    """Return what the newest drain said that did not succeed."""
    asked = commands.invocations(clients.ssm, record.drain_document, journal.opened_at)
    newest = [asked[one][0] for one in record.went if asked.get(one)]
    bad = [one for one in newest if one.state not in {"running", "success"}]
    for invocation in sorted(bad, key=lambda one: one.requested_at, reverse=True)[:1]:
        said = [invocation.status, *commands.output(clients.ssm, invocation)]
        return {f"command on {invocation.instance_id}": "\n".join(one for one in said if one)}
    return {}
