"""One deployment as the steps see it: the environment, its AWS account, the journal on behalf of one run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core import config
from bakeroll.core.aws import Clients
from bakeroll.core.errors import BakerollError, ConfigError, FleetError
from bakeroll.core.rollout import evidence, preflight
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.drains import Drain, DrainWaiting
from bakeroll.core.rollout.gates import Gate
from bakeroll.core.rollout.journal import LEASE_SECONDS, Ledger, deadline_name
from bakeroll.core.rollout.journal.known_fleets import KnownFleet, recall, remember
from bakeroll.core.rollout.rollback import Restore, SettleBack, deadline_names, drain_policy
from bakeroll.core.rollout.waves import ANSWER_TIMEOUT, AwaitCapacity, Proceed, Retire, ScaleOut, Settle
from bakeroll.core.steps import Step
from bakeroll.core.terraform import FleetOutput

RENEWAL_SECONDS = LEASE_SECONDS / 3

BACK_WAVE = 0
"""The wave that a rollback is: waves are counted from 1."""

BACK_STEPS: dict[str, Callable[..., Step]] = {"restore": Restore, "verify_restored": SettleBack}
"""Steps that go back."""


class Deployment:
    """One run's view of one environment.

    :param environment_file: the environment's YAML file.
    :param owner: the run that acts, ``<dag id>/<run id>``.
    :param clients: makes the clients for an environment.
    :param now: the clock, in seconds since the epoch; None for this machine's.
    :param environment: what the file says, for who has read it already; None reads it.
    """

    def __init__(
        self,
        environment_file: Path,
        owner: str,
        clients: Callable[[config.Environment], Clients],
        *,
        now: Callable[[], float] | None = None,
        environment: config.Environment | None = None,
    ) -> None:
        self.name = environment_file.stem
        # <repository>/dags/environments/<name>.yaml
        self.repository = environment_file.resolve().parents[2]
        self.environment = environment or config.load(environment_file)
        self.owner = owner
        self.clients = clients(self.environment)
        self.now = now or time.time
        self.ledger = Ledger(self.clients.s3, self.environment.state_bucket, self.name, owner, now=self.now)

    @contextmanager
    def kept_alive(self, warn: Callable[[str], object]) -> Iterator[None]:
        """Renew the journal's lease beside a tool that runs for minutes.

        :param warn: gets what goes wrong with that; the next step that acts looks at the journal itself.
        """
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(RENEWAL_SECONDS):
                try:
                    self.ledger.read()
                except (BakerollError, BotoCoreError, ClientError) as error:
                    warn(f"the journal's lease was not renewed: {error}")

        thread = threading.Thread(target=renew, name="journal lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def fleet(self, name: str) -> config.Fleet:
        """Return a fleet's settings.

        :raises ConfigError: if the environment file no longer has it.
        """
        if name not in self.environment.fleets:
            raise ConfigError(
                f"{self.name}: fleet {name} is gone from the environment file since this run began; "
                "start a new run"
            )
        return self.environment.fleets[name]

    def known_fleets(self) -> dict[str, KnownFleet]:
        """Return the fleets as the last deployment left them, drained as the file says today."""
        known = recall(self.clients.s3, self.environment.state_bucket, self.name)
        settings = self.environment.fleets
        return {
            name: fleet.with_settings(settings[name].drain) if name in settings else fleet
            for name, fleet in known.items()
        }

    def remember_fleets(self, outputs: Mapping[str, FleetOutput]) -> None:
        """Write down the fleets that Terraform made, for drains outside deployments.

        :param outputs: the fleets by name.
        """
        remember(self.clients.s3, self.environment.state_bucket, self.name, outputs, self.environment.fleets)

    def look_ahead(self, say: Callable[[str], object]) -> None:
        """Make sure, before anything moves, that a rollout can be carried through.

        :param say: gets a line for each thing that is worth knowing.
        :raises PreflightError: with all that stands in the way.
        """
        found = preflight.look(self.clients, self.ledger.read(), self.environment.fleets, self.ledger.now())
        for note in found.notes:
            say(note)
        preflight.insist(self.name, found)

    def _drain_waiting(
        self, fleet: str, instance_ids: Sequence[str], earlier: Collection[str] = ()
    ) -> DrainWaiting:
        known = self.known_fleets()
        if fleet not in known:
            raise FleetError(
                f"{self.name}: fleet {fleet} has been destroyed by a deployment since it was looked at; look "
                "afresh with a new run"
            )
        return DrainWaiting(
            self.clients,
            self.environment.state_bucket,
            self.name,
            fleet,
            instance_ids,
            place=known[fleet],
            run=self.owner,
            clock=self.now,
            earlier=earlier,
        )

    def give_up(self, kind: str, arguments: Mapping[str, Any]) -> None:
        """Let a step that failed for good have its full time when a person begins it again.

        :param kind: the step's name.
        :param arguments: its arguments.
        """
        if kind in BACK_STEPS:
            names = deadline_names(kind)
        else:
            names = [deadline_name(arguments["wave"], kind)] if "wave" in arguments else []
        for name in names:
            self.ledger.forget_deadline(arguments["fleet"], name)

    def evidence(self, fleet: str) -> dict[str, str]:
        """Return what AWS says of a fleet whose rollout failed, by kind."""
        journal = self.ledger.peek()
        return evidence.gather(self.clients, journal, fleet) if journal else {}

    def step(self, kind: str, arguments: Mapping[str, Any]) -> Step:
        """Make a step from what can be written into a trigger's row.

        :param kind: one of the names below.
        :param arguments: plain values only.
        :raises ValueError: if there is no such step.
        """
        if kind == "begin":
            # Only the operator can ask Airflow whether a run is alive, and asks before it waits.
            return Begin(self.ledger, self.name, alive=lambda _owner: False)
        if kind == "drain_waiting":
            return self._drain_waiting(**arguments)
        fleet = self.fleet(arguments["fleet"])
        if kind in BACK_STEPS:
            return BACK_STEPS[kind](
                self.clients,
                self.ledger.going(back=True),
                arguments["fleet"],
                wave=BACK_WAVE,
                timeout=fleet.capacity_timeout,
            )
        wave = arguments["wave"]
        ledger = self.ledger.going(back=wave == BACK_WAVE)
        if kind == "drain":
            policy = arguments.get("on_failure") or fleet.drain.on_failure
            if wave == BACK_WAVE:
                policy = drain_policy(ledger.read(), arguments["fleet"], arguments["instance_ids"], policy)
            return Drain(
                self.clients,
                ledger,
                arguments["fleet"],
                arguments["instance_ids"],
                wave=wave,
                timeout=fleet.drain.timeout,
                stop_units=fleet.drain.stop_units,
                on_failure=policy,
                earlier=arguments.get("earlier", ()),
            )
        steps: dict[str, Callable[..., Step]] = {
            "scale_out": ScaleOut,
            "await_capacity": AwaitCapacity,
            "gate": partial(Gate, gate=fleet.gate),
            "retire": Retire,
            "proceed": Proceed,
            "verify": Settle,
        }
        if kind not in steps:
            raise ValueError(
                f"there is no step {kind!r}; the steps are begin, drain, drain_waiting, "
                f"{', '.join([*steps, *BACK_STEPS])}"
            )
        return steps[kind](
            self.clients,
            ledger,
            arguments["fleet"],
            wave=wave,
            timeout=ANSWER_TIMEOUT if kind == "proceed" else fleet.capacity_timeout,
            waves=fleet.waves,
        )
