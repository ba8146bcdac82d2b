"""The first and the last steps of a run: take the journal, write the fleets into it, give it back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from bakeroll.core import config
from bakeroll.core.aws import Clients
from bakeroll.core.errors import FleetError, GroupMissingError, LockedError
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout import lifecycle_actions
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger
from bakeroll.core.rollout.rollback.target import what_runs
from bakeroll.core.steps import Act, Decision, Done, Wait
from bakeroll.core.terraform import FleetOutput


class Begin:
    """Take the journal, or take it over from a run that is dead.

    :param alive: tells whether a run, ``<dag id>/<run id>``, may still act.
    """

    def __init__(self, ledger: Ledger, environment: str, alive: Callable[[str], bool]) -> None:
        self._ledger = ledger
        self._environment = environment
        self._alive = alive

    def look(self) -> Decision:
        """Decide whether the journal is ours, free, held, or a dead owner's."""
        journal = self._ledger.peek()
        if journal is None:
            return Act("open the journal", self._ledger.open)
        if journal.owner == self._ledger.owner:
            told = f"resumed in epoch {journal.epoch}" if journal.epoch > 1 else "opened"
            return Done(f"journal of {self._environment} {told}", {"epoch": journal.epoch})
        if self._alive(journal.owner):
            raise LockedError(
                f"{self._environment}: {journal.owner} holds the journal and is still running; wait for it, "
                "or mark that run failed in the UI and clear this task"
            )
        left = journal.lease_until - self._ledger.now()
        if left > 0:
            return Wait(
                f"{journal.owner} ended without closing the journal; its lease lapses in {left:.0f} s"
            )
        return Act(
            f"take the journal over from {journal.owner}, which did not finish",
            lambda: self._ledger.take_over(journal.epoch),
        )


def check_fleets(environment: str, wanted: Collection[str], made: Collection[str], root: str) -> None:
    """Make sure that environment file and Terraform speak of the same fleets.

    :param wanted: names in the environment file.
    :param made: names in Terraform's output.
    :param root: folder of the root module, relative to the repository.
    :raises FleetError: if they differ: such a fleet would never be rolled, or never be found.
    """
    if set(wanted) != set(made):
        ours, theirs = (", ".join(sorted(names)) or "none" for names in (wanted, made))
        raise FleetError(
            f"{environment}: dags/environments/{environment}.yaml has the fleets {ours}, Terraform's output "
            f"`fleets` has {theirs}; name the same under `fleets` there and in {root}/terraform.tfvars, then "
            "start a new run"
        )


def record_fleets(
    clients: Clients,
    ledger: Ledger,
    outputs: Mapping[str, FleetOutput],
    settings: Mapping[str, config.Fleet],
    *,
    applied: bool = False,
    replace: bool = False,
) -> Journal:
    """Write the fleets that Terraform has made into our journal; what it knows of one already stays.

    :param outputs: the fleets.
    :param settings: the fleets in the environment file; their waves are frozen in the journal.
    :param applied: whether this run has applied Terraform already: a fleet that is new then was made by
        it, and there is nothing that a rollback could go back to.
    :param replace: whether all instances that there are now are replaced, although nothing changed.
    :raises FleetError: if the waves in the file were changed in the middle of a rollout.
    """
    known = ledger.read().fleets
    records = {}
    for name, output in outputs.items():
        record = _record(clients, name, known.get(name), output, new=applied)
        if name in settings:
            record = freeze(name, record, settings[name].waves)
        if replace:
            record = _to_be_replaced(clients, name, record)
        records[name] = record
    applied_at = {"applied_at": ledger.now()} if applied else {}
    return ledger.update(lambda journal: journal.model_copy(update={"fleets": records, **applied_at}))


def freeze(name: str, record: FleetRecord, waves: Sequence[str]) -> FleetRecord:
    """Keep the waves of the environment file for the whole rollout.

    :param waves: as the file has them now; as long as nothing of the fleet was changed they count.
    :raises FleetError: if they are others than those that the rollout has begun with.
    """
    if record.untouched:
        return record.model_copy(update={"waves": tuple(waves)})
    record.check_waves(name, waves)
    return record


def _to_be_replaced(clients: Clients, name: str, record: FleetRecord) -> FleetRecord:
    """Note by name which instances are older than the run.

    Their names need no clock: launch times are AWS's, and the worker's clock may be ahead of it, so that what
    this very rollout launches would seem old as well. What was noted once stays, for a retry and for a run
    that takes over.
    """
    if record.replaces is not None:
        return record
    try:
        picture = fleets.describe(clients, name, record.group)
    except GroupMissingError:
        return record.model_copy(update={"replaces": ()})
    return record.model_copy(update={"replaces": tuple(one.instance_id for one in picture.instances)})


def _record(
    clients: Clients, name: str, known: FleetRecord | None, output: FleetOutput, *, new: bool
) -> FleetRecord:
    names = {
        "group": output.autoscaling_group,
        "launch_template_id": output.launch_template_id,
        "termination_hook": output.termination_hook,
        "drain_document": output.drain_document,
    }
    if known and known.group == output.autoscaling_group:
        return known.model_copy(update=names)
    try:
        picture = fleets.describe(clients, name, output.autoscaling_group)
    except GroupMissingError:
        return FleetRecord(**names)  # the plan that follows makes it again
    if new:
        return FleetRecord(**names)
    before = what_runs(clients, picture)
    return FleetRecord(**names, template_before=before.version, template_id_before=before.template_id)


def retain_abandoned(clients: Clients, ledger: Ledger, settings: Mapping[str, config.Fleet]) -> list[str]:
    """Have groups keep an instance whose drain is given up, or that nobody drained in time.

    :param settings: the environment file's fleets: it is done where ``drain.on_failure`` is ``retain``.
    :return: the groups that were changed.
    """
    changed = []
    for name, record in ledger.read().fleets.items():
        if name not in settings or settings[name].drain.on_failure != "retain":
            continue
        if not lifecycle_actions.keeps_abandoned(clients, record.group):
            ledger.read()
            lifecycle_actions.keep_abandoned(clients, record.group)
            changed.append(record.group)
    return changed


def floors(clients: Clients, journal: Journal) -> tuple[dict[str, int], dict[str, int]]:
    """Return the sizes below which no plan may go while the journal is open.

    :return: smallest MinSize and smallest MaxSize, by fleet; only of fleets whose capacity is raised.
    """
    minimum: dict[str, int] = {}
    maximum: dict[str, int] = {}
    for name, record in journal.fleets.items():
        if record.surge is None:
            continue
        picture = fleets.describe(clients, name, record.group)
        minimum[name] = picture.minimum
        maximum[name] = max(picture.maximum, picture.desired)
    return minimum, maximum


def unsettled(clients: Clients, journal: Journal) -> list[str]:
    """Say for each fleet why it needs a rollout; empty if every fleet is as it should be."""
    reasons = []
    for name, record in journal.fleets.items():
        picture = fleets.describe(clients, name, record.group, record.replaces or ())
        if picture.old:
            reasons.append(f"{name}: {len(picture.old)} of {len(picture.counted)} instances are not current")
        elif record.surge:
            reasons.append(f"{name}: an earlier run raised capacity and did not give it back")
        elif picture.ready_current < picture.desired:
            reasons.append(f"{name}: {picture.progress(picture.desired)}")
    return reasons


def close(ledger: Ledger) -> None:
    """Give the journal back.

    :raises FleetError: if a fleet's capacity is still raised.
    """
    journal = ledger.peek()
    if journal is None:
        return  # closed already, by a call whose answer was lost
    raised = [name for name, record in journal.fleets.items() if record.surge]
    if raised and journal.owner == ledger.owner:
        raise FleetError(
            f"capacity of {', '.join(raised)} is still raised: the journal stays open; start a new run"
        )
    ledger.close()
