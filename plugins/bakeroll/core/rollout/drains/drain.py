"""Empty the log buffers of the instances that a rollout retired, and see them gone.

Nothing is remembered but what was not drained: what was sent and what came of it, SSM tells. An instance
that cannot be emptied holds no rollout up: it is kept or terminated as ``drain.on_failure`` says, people are
told, and the task's result and the journal name it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.errors import DrainError
from bakeroll.core.rollout.drains import terminations, undrained
from bakeroll.core.rollout.drains.commands import DELIVERY_SECONDS, Invocation
from bakeroll.core.rollout.drains.emptying import GRACE_SECONDS, Emptying, OnFailure, Picture
from bakeroll.core.rollout.drains.receipts import Receipt
from bakeroll.core.rollout.drains.undrained import Outcome, Records, Undrained
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger, deadline_name
from bakeroll.core.rollout.lifecycle_actions import GONE, HELD, RETAINED, Place
from bakeroll.core.steps import Act, Decision, Done, Wait

LONGEST_DEREGISTRATION = timedelta(hours=1)
"""A target group's deregistration delay is at most 3600 s
(https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html)."""


class Drain(Emptying):
    """Drain up to 50 instances that were retired.

    :param ledger: the journal, which says what the fleet is and that this run may act.
    :param wave: the wave, counted from 1; 0 in a rollback.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: Ledger,
        fleet: str,
        instance_ids: Sequence[str],
        *,
        wave: int,
        timeout: timedelta,
        stop_units: Sequence[str],
        earlier: Collection[str] = (),
        on_failure: OnFailure = "retain",
    ) -> None:
        super().__init__(
            clients,
            fleet,
            instance_ids,
            timeout=timeout,
            stop_units=stop_units,
            earlier=earlier,
            on_failure=on_failure,
        )
        self._ledger = ledger
        self._wave = wave
        self._began: dict[str, float] | None = None

    def now(self) -> float:
        """Return the journal's time."""
        return self._ledger.now()

    def look(self) -> Decision:
        """Decide what is to be done for the instances that are not gone yet."""
        journal = self._ledger.read()
        record = journal.fleets[self._name]
        picture = self._picture(record, journal.opened_at)
        self._completed.update(record.let_go)
        act = (
            self._act(record, picture, record.undrained)
            or self._note_gone(record, picture)
            or self._tell(journal, record, picture)
        )
        if act:
            return act
        left = {
            one: state for one, state in picture.states.items() if state not in GONE and state != RETAINED
        }
        if left:
            return self._wait(record, picture, left)
        return self._finish(record, picture)

    def earlier_commands(self) -> list[str]:
        """Return the ids of all commands that there are for these instances, whatever came of them."""
        journal = self._ledger.read()
        picture = self._picture(journal.fleets[self._name], journal.opened_at)
        known = {one.command_id for each in self._ids for one in picture.invocations.get(each, [])}
        return sorted(known)

    def _picture(self, place: Place, opened_at: float) -> Picture:
        """Look at the instances, and at what was asked of them since their terminations began."""
        found = self._clients.autoscaling.describe_auto_scaling_instances(InstanceIds=self._ids)
        if self._began is None:
            self._began = terminations.termination_times(
                self._clients.autoscaling, place.group, self._ids, self.now()
            )
        since = {instance_id: max(opened_at, began) for instance_id, began in self._began.items()}
        return Picture(
            {one["InstanceId"]: one["LifecycleState"] for one in found["AutoScalingInstances"]},
            terminations.asked_since(self._clients, place.drain_document, since),
        )

    def _may_act(self) -> None:
        self._ledger.read()

    def _emptied(self, place: Place, invocation: Invocation, receipt: Receipt) -> None:
        """Note nothing: the task's result has the receipts, and the release."""

    def _ended_before(self, instance_id: str) -> None:
        """Note it in the journal: each new process would end it again, as long as another hook holds it."""

        def noted(record: FleetRecord) -> FleetRecord:
            return record.model_copy(update={"let_go": tuple(dict.fromkeys((*record.let_go, instance_id)))})

        self._ledger.update_fleet(self._name, noted)

    def _patience_ends(self, instance_id: str) -> float:
        return self._ledger.deadline(self._name, f"drain.{instance_id}", self._timeout.total_seconds())

    def _note(self, given_up: Mapping[str, str]) -> None:
        self._note_outcome("retained" if self._on_failure == "retain" else "lost", given_up)

    def _note_gone(self, record: FleetRecord, picture: Picture) -> Act | None:
        """Note those that ended otherwise than by us: by the hook's timeout, or directly in EC2."""
        lost: dict[str, str] = {}
        retained: dict[str, str] = {}
        for instance_id in self._ids:
            state, noted = picture.state(instance_id), instance_id in record.undrained
            if state == RETAINED and not noted:
                retained[instance_id] = self._why_retained(instance_id, picture)
            elif state not in GONE or self._good_receipt(instance_id, picture):
                continue
            elif not noted:
                lost[instance_id] = (
                    "it went without a receipt that says it is empty (terminated directly, or its lifecycle "
                    f"action ended by somebody else or by {record.termination_hook}'s timeout)"
                )
            elif instance_id in record.retained and instance_id not in record.told:
                lost[instance_id] = f"{record.undrained[instance_id]}; and the group did not keep it"
        if lost:
            return Act(f"note the loss of {', '.join(lost)}", lambda: self._note_outcome("lost", lost))
        if retained:
            return Act(
                f"note that {', '.join(retained)} are retained",
                lambda: self._note_outcome("retained", retained),
            )
        return None

    def _why_retained(self, instance_id: str, picture: Picture) -> str:
        if self._good_receipt(instance_id, picture):
            return "its buffers are empty, but its lifecycle hook timed out before it was let go"
        return "its lifecycle hook timed out before it was drained"

    def _note_outcome(self, outcome: Outcome, why: Mapping[str, str]) -> None:
        def noted(record: FleetRecord) -> FleetRecord:
            lost = [one for one in record.lost if one not in why]
            retained = [one for one in record.retained if one not in why]
            (lost if outcome == "lost" else retained).extend(why)
            return record.model_copy(
                update={
                    "lost": tuple(lost),
                    "retained": tuple(retained),
                    "undrained": {**record.undrained, **why},
                }
            )

        self._ledger.update_fleet(self._name, noted)

    def _tell(self, journal: Journal, record: FleetRecord, picture: Picture) -> Act | None:
        """Tell people of those that were given up, when all that can be done for the others is done."""
        news = [
            self._undrained(record, one)
            for one in self._ids
            if one in record.undrained
            and one not in record.told
            and (picture.state(one) != HELD or one in self._completed)
        ]
        if not news:
            return None
        ids = ", ".join(one.instance_id for one in news)
        return Act(f"tell people of {ids}", lambda: self._publish(journal, record, news))

    def _publish(self, journal: Journal, record: FleetRecord, news: Sequence[Undrained]) -> None:
        self._may_act()
        records = Records(
            self._clients,
            self._ledger.bucket,
            journal.environment,
            fleet=self._name,
            group=record.group,
            run=journal.owner,
        )
        for one in news:
            records.write(one.instance_id, self.now(), one.facts)
        untold = undrained.tell(self._clients, journal.environment, self._name, journal.owner, news)
        told = [one.instance_id for one in news]
        self._ledger.update_fleet(
            self._name,
            lambda record: record.model_copy(
                update={"told": tuple(dict.fromkeys((*record.told, *told))), "untold": untold}
            ),
        )

    @staticmethod
    def _undrained(record: FleetRecord, instance_id: str) -> Undrained:
        outcome: Outcome = "retained" if instance_id in record.retained else "lost"
        return Undrained(instance_id, outcome, record.undrained[instance_id])

    def _wait(self, record: FleetRecord, picture: Picture, left: dict[str, str]) -> Wait:
        seconds = (2 * self._timeout + LONGEST_DEREGISTRATION).total_seconds()
        seconds += DELIVERY_SECONDS + GRACE_SECONDS
        deadline = self._ledger.deadline(self._name, deadline_name(self._wave, "drain"), seconds)
        stages = ", ".join(f"{one} {self._stage(one, state, picture)}" for one, state in sorted(left.items()))
        if self._ledger.now() >= deadline:
            raise DrainError(
                f"fleet {self._name}: after {seconds:.0f} s still not drained and gone: {stages}; look at "
                f"the scaling activities of the group, {self._then()}"
            )
        counted = Counter(self._stage(one, state, picture) for one, state in left.items())
        words = "".join(f", {count} {stage}" for stage, count in sorted(counted.items()))
        passed = max(0, round(seconds - (deadline - self._ledger.now())))
        return Wait(
            f"{len(self._ids) - len(left)} of {len(self._ids)} drained and gone{words}, "
            f"{passed} s of {seconds:.0f} s",
            lambda: self._keep_alive(record, picture.held()),
        )

    def _then(self) -> str:
        """Say what a person does next: going forward, this very failure begins a rollback."""
        return "then start a new run: this one is rolled back" if self._wave else "then clear this task"

    def _stage(self, instance_id: str, state: str, picture: Picture) -> str:
        if state != HELD or instance_id in self._completed:
            return state
        invocation = picture.newest(instance_id)
        if self._askable(instance_id, picture):
            return "asked a moment ago" if self._unseen(instance_id) else "waits for its SSM agent"
        return f"drains ({invocation.status})" if invocation else HELD

    def _finish(self, record: FleetRecord, picture: Picture) -> Decision:
        results: list[dict[str, Any]] = []
        failed: list[Undrained] = []
        for instance_id in self._ids:
            if found := self._good_receipt(instance_id, picture):
                results.append({"instance_id": instance_id, **found[1].model_dump()})
            if instance_id in record.undrained and not (found and instance_id in record.lost):
                failed.append(self._undrained(record, instance_id))
        counted = Counter(one.outcome for one in failed)
        words = "".join(f", {count} {outcome}" for outcome, count in sorted(counted.items()))
        what = ". ".join(
            [
                f"{len(self._ids) - len(failed)} of {len(self._ids)} instances drained and gone{words}",
                *(one.sentence.removesuffix(".") for one in failed),
                *([f"Nobody could be told: {record.untold}"] if failed and record.untold else []),
            ]
        )
        named = {one.instance_id for one in failed}
        drained = [one for one in results if one["instance_id"] not in named]
        return Done(what, drained + [one.facts for one in failed])
