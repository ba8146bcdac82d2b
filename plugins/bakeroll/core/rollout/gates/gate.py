"""Watch a wave's new instances for a while before old ones go.

All through the soak the new instances' targets stay healthy, the named alarms are quiet, and the application
answers as expected. What goes wrong is written into the journal by whoever sees it, operator or trigger: at
the next look it may be over, and the instance gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NoReturn

from bakeroll.core.aws import Clients
from bakeroll.core.errors import GateError
from bakeroll.core.gate_settings import Gate as Settings
from bakeroll.core.gate_settings import HttpCheck
from bakeroll.core.rollout.capacity import live_target, share_of
from bakeroll.core.rollout.fleet import Fleet
from bakeroll.core.rollout.gates import alarms, exposure, http_check
from bakeroll.core.rollout.gates.http_check import Address, Answers
from bakeroll.core.rollout.journal import FleetRecord, Ledger, Watch
from bakeroll.core.rollout.waves.step import FleetStep
from bakeroll.core.steps import Act, Decision, Done, Wait

RENEWAL_SECONDS = 10.0
"""How often the journal is looked at while answers are asked for: its lease must not lapse."""


class Gate(FleetStep):
    """Watch a wave's new instances for the soak time.

    :param timeout: how long, beyond the soak, replacements and alarms without data are waited for.
    :param gate: what the fleet's file asks.
    """

    def __init__(
        self,
        clients: Clients,
        ledger: Ledger,
        fleet: str,
        *,
        wave: int = 1,
        timeout: timedelta,
        waves: Sequence[str] | None = None,
        gate: Settings,
    ) -> None:
        super().__init__(clients, ledger, fleet, wave=wave, timeout=timeout, waves=waves)
        self._gate = gate
        self._soak = gate.soak.total_seconds()
        self._address: Address | None = None

    def _look(self) -> Decision:
        """Look at everything that is asked for; one fault is the end."""
        fleet, record = self._picture()
        if not self._gate.asks:
            return Done("the environment file asks for no gate here")
        if record.untouched and record.template_before is not None:
            return Done(f"nothing of {fleet.group} was moved: there is nothing to watch")
        self._check_waves(record)
        wanted = share_of(live_target(fleet, record), self._share(record))
        watch = record.gate if record.gate and record.gate.wave == self._wave else None
        if watch is None:
            if fleet.ready_current >= wanted and self._watched_before(fleet, record):
                return Done("no new instance since the wave before, whose gate let these through")
            return self._begin(fleet, wanted)
        if watch.fault:
            raise GateError(watch.fault)
        if late := exposure.serving(fleet) - set(watch.instances):
            more = watch.model_copy(update={"instances": (*watch.instances, *sorted(late))})
            return Act(f"watch {', '.join(sorted(late))} as well", lambda: self._watch(watch, more))
        return self._judge(fleet, watch, wanted)

    def _watched_before(self, fleet: Fleet, record: FleetRecord) -> bool:
        """Tell whether the wave before has watched all that this one would: small fleets have such waves."""
        before = record.gate
        if before is None or before.wave != self._wave - 1 or before.fault:
            return False
        return exposure.serving(fleet) <= set(before.instances)

    def _begin(self, fleet: Fleet, wanted: int) -> Decision:
        """Start the soak once all are there whose health is to last."""
        if fleet.ready_current >= wanted:
            now, serving = self._ledger.now(), exposure.serving(fleet)
            watch = Watch(
                wave=self._wave, since=now, until=now + self._soak, instances=tuple(sorted(serving))
            )
            return Act(
                f"watch {len(serving)} new instances for {self._soak:.0f} s", lambda: self._watch(None, watch)
            )
        deadline = self._deadline("gate")
        if self._ledger.now() >= deadline:
            raise GateError(
                f"fleet {fleet.name}: new instances stopped serving before they could be watched: only "
                f"{fleet.progress(wanted)}{exposure.words(fleet)}"
            )
        return Wait(f"{fleet.progress(wanted)}, {self._passed(deadline)}", self._ledger.read)

    def _watch(self, expected: Watch | None, watch: Watch) -> None:
        """Write down what is watched, unless another attempt of this run was quicker: then look again."""

        def change(record: FleetRecord) -> FleetRecord:
            known = record.gate if record.gate and record.gate.wave == watch.wave else None
            return record.model_copy(update={"gate": watch}) if known == expected else record

        self._ledger.update_fleet(self._name, change)

    def _judge(self, fleet: Fleet, watch: Watch, wanted: int) -> Decision:
        fault = exposure.fault(self._clients, fleet, watch)
        quiet, waiting = self._alarms(fleet)
        fault = fault or quiet
        if fault is None and self._gate.http:
            answers = self._answers(fleet, self._gate.http)
            fault = answers.fault
            waiting += [answers.missing] if answers.missing else []
        if fault:
            self._fail(f"fleet {fleet.name}: {fault}")
        if fleet.ready_current < wanted:
            waiting = [fleet.progress(wanted), *waiting]
        return self._decide(fleet, watch, waiting)

    def _decide(self, fleet: Fleet, watch: Watch, waiting: list[str]) -> Decision:
        now = self._ledger.now()
        left = watch.until + self._timeout - now
        if now >= watch.until and not waiting:
            seconds = round(now - watch.since)
            return Done(
                f"{fleet.ready_current} new instances stayed healthy for {seconds} s{self._seen()}",
                {"instances": list(watch.instances), "seconds": seconds},
            )
        if left <= 0:
            self._fail(
                f"fleet {fleet.name}: the gate does not open, {self._timeout:.0f} s after its soak: "
                f"{'; '.join(waiting)}{exposure.words(fleet)}"
            )
        passed = f"{min(now, watch.until) - watch.since:.0f} s of {self._soak:.0f} s"
        return Wait(
            "; ".join([f"{fleet.ready_current} new instances watched, {passed}", *waiting]), self._ledger.read
        )

    def _seen(self) -> str:
        seen = [f", {len(self._gate.alarms)} alarms quiet"] if self._gate.alarms else []
        if self._gate.http:
            seen.append(f", {self._gate.http.path} answers {self._gate.http.status}")
        return "".join(seen)

    def _alarms(self, fleet: Fleet) -> tuple[str | None, list[str]]:
        """Return what an alarm says against going on, and which ones have no data yet.

        :raises GateError: if one is missing.
        """
        if not self._gate.alarms:
            return None, []
        found = alarms.describe(self._clients.cloudwatch, self._gate.alarms)
        if missing := alarms.missing(self._gate.alarms, found):
            raise GateError(f"fleet {fleet.name}: {missing}")
        for alarm in found:
            if alarm.state == "ALARM":
                return f"alarm {alarm.name} is in ALARM: {alarm.reason}", []
        empty = [alarm for alarm in found if alarm.state == "INSUFFICIENT_DATA"]
        if empty and self._gate.insufficient_data == "fail":
            return (
                f"alarm {empty[0].name} has INSUFFICIENT_DATA: {empty[0].reason} "
                "(gate.insufficient_data: fail)"
            ), []
        if self._gate.insufficient_data == "ok":
            return None, []
        return None, [f"alarm {alarm.name} has INSUFFICIENT_DATA: {alarm.reason}" for alarm in empty]

    def _answers(self, fleet: Fleet, check: HttpCheck) -> Answers:
        """Ask the application.

        :raises GateError: if nobody knows where.
        """
        if self._address is None:
            found = http_check.find_address(self._clients.elbv2, fleet.target_groups, check)
            if isinstance(found, str):
                raise GateError(f"fleet {fleet.name}: {found}")
            self._address = found
        wanted = http_check.requests_needed(check, fleet.ready_current, fleet.ready_count)
        return http_check.row_of_answers(check, self._address, wanted, self._keeper())

    def _keeper(self) -> Callable[[], None]:
        """Return what renews the journal's lease every few seconds of a long row of requests."""
        renewed = self._ledger.now()

        def keep() -> None:
            nonlocal renewed
            if self._ledger.now() - renewed >= RENEWAL_SECONDS:
                self._ledger.read()
                renewed = self._ledger.now()

        return keep

    def _fail(self, fault: str) -> NoReturn:
        """Write the fault down, then fail with it: who looks next may not see it any more."""

        def change(record: FleetRecord) -> FleetRecord:
            if record.gate is None or record.gate.fault:
                return record
            return record.model_copy(update={"gate": record.gate.model_copy(update={"fault": fault})})

        first = self._ledger.update_fleet(self._name, change).gate
        raise GateError(first.fault if first and first.fault else fault)
