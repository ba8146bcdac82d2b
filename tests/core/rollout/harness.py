"""Runs whole rollouts of core's steps on a virtual account, the invariants checked after every act."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from bakeroll.core.aws import Clients
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout.drains import Drain, OnFailure
from bakeroll.core.rollout.journal import FleetRecord, Journal, Ledger
from bakeroll.core.rollout.waves import AwaitCapacity, Retire, ScaleOut, Settle
from bakeroll.core.rollout.waves.step import SETTLE_SECONDS
from bakeroll.core.steps import Act, Done, Step, pauses
from sandbox.direct import Call, DirectAccount, direct_account
from sandbox.model.ports import CommandResult
from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import Fleet, make_fleet, new_version, put_fleet

BUCKET = "state"
DOCUMENT = "drain-web"
CAPACITY_TIMEOUT = timedelta(minutes=10)

CONTENT = {
    "schemaVersion": "2.2",
    "description": "drain",
    "parameters": {
        "StopUnits": {"type": "String", "default": ""},
        "TimeoutSeconds": {"type": "String", "default": "300"},
    },
    "mainSteps": [
        {
            "action": "aws:runShellScript",
            "name": "drain",
            "inputs": {"timeoutSeconds": "{{ TimeoutSeconds }}", "runCommand": ["drain '{{ StopUnits }}'"]},
        }
    ],
}


def receipt(_instance_id: str, _script: str, *, left: int = 0) -> CommandResult:
    """Answer as the drain script does."""
    numbers = {
        "queue_length_before": 1,
        "bytes_before": 512,
        "queue_length_after": 0,
        "bytes_after": left,
        "unread_bytes": 0,
        "duration_seconds": 1.5,
    }
    return CommandResult(status=0, stdout=json.dumps({"bakeroll_receipt": numbers}), stderr="")


class StuckError(AssertionError):
    """A step waits longer than anything may."""


Account = DirectAccount | VirtualAccount


@dataclass
class Wire:
    """Every call that the first run makes of a direct account.

    :ivar asked: all that came to the account, also those that it refused.
    :ivar made: those that were done.
    """

    aws: DirectAccount
    asked: list[Call] = field(default_factory=list)
    made: list[Call] = field(default_factory=list)

    def client(self, service: str) -> Any:
        """Return a run's client."""
        return self.aws.client(service, "bakeroll", around=self.around)

    def around(self, call: Call, perform: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Note a call and perform it."""
        self.asked.append(call)
        answer = perform()
        self.made.append(call)
        return answer

    def count(self, service: str, operation: str) -> int:
        """Return how often an operation was called."""
        return sum((call.service, call.operation) == (service, operation) for call in self.asked)


@dataclass
class World:
    """An account with one fleet of two instances at version 1 that serve, and a run's view of it.

    :ivar wire: what a run calls of a direct account; None where the account counts calls itself.
    """

    aws: Account
    made: Fleet
    clients: Clients
    ledger: Ledger
    size: int
    floor: int = 0
    waves: tuple[str, ...] = ("100%",)
    log: list[str] = field(default_factory=list)
    lowest_ready: int = 10**6
    on_pass: Callable[[World], None] | None = None
    wire: Wire | None = None

    def picture(self) -> fleets.Fleet:
        """Take a fresh picture of the fleet."""
        return fleets.describe(self.clients, "web", self.made.group)

    def record(self) -> FleetRecord:
        """Return the fleet's record in the journal."""
        journal = self.ledger.peek()
        assert journal is not None
        return journal.fleets["web"]

    def settle(self, seconds: float = 120) -> None:
        """Let the account come to rest."""
        self.aws.clock.advance(seconds)

    def release(self, image_id: str | None = None) -> str:
        """Point the group at a new version, as Terraform does; returns its image id."""
        image_id = image_id or self.aws.image(f"application-{len(self.log)}-{self.aws.clock.now()}")
        number = new_version(self.aws, self.made, image_id)
        self.clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=self.made.group,
            LaunchTemplate={"LaunchTemplateId": self.made.template_id, "Version": number},
        )
        return image_id

    def run(self, step: Step, longest: float = 7200) -> Any:
        """Run a step to its end in virtual time, checking the floor at every pass."""
        began, waits = self.aws.clock.now(), pauses()
        while self.aws.clock.now() - began < longest:
            self.check()
            if self.on_pass:
                self.on_pass(self)
            match step.look():
                case Act(what, perform):
                    self.log.append(what)
                    perform()
                    waits = pauses()
                case Done(what, result):
                    self.log.append(what)
                    return result
                case wait:
                    if wait.keep_alive:
                        wait.keep_alive()
                    self.log.append(f"... {wait.why}")
                    self.aws.clock.advance(next(waits))
        raise StuckError(self.log[-3:])

    def check(self) -> None:
        """Invariant 1: healthy targets never fall below the live target because of us."""
        ready = self.healthy_targets()
        self.lowest_ready = min(self.lowest_ready, ready)
        assert ready >= self.floor, f"{ready} healthy, floor {self.floor}: {self.log[-5:]}"

    def healthy_targets(self) -> int:
        """Count healthy targets in the model itself, so that counting is no API call."""
        states = [target.state for target in self.aws.account.targets.health(self.made.target_group_arn)]
        return states.count("healthy")

    def step(self, kind: type[Any], ledger: Ledger | None = None, wave: int = 1) -> Any:
        """Make a step of a wave."""
        return kind(
            self.clients,
            ledger or self.ledger,
            "web",
            wave=wave,
            timeout=CAPACITY_TIMEOUT,
            waves=self.waves,
        )

    def drain(
        self,
        ids: list[str],
        ledger: Ledger | None = None,
        wave: int = 1,
        *,
        on_failure: OnFailure = "retain",
    ) -> Drain:
        """Make a drain of some instances, as a task that starts now."""

        def make(earlier: list[str]) -> Drain:
            return Drain(
                self.clients,
                ledger or self.ledger,
                "web",
                ids,
                wave=wave,
                timeout=timedelta(minutes=5),
                stop_units=["web.service"],
                earlier=earlier,
                on_failure=on_failure,
            )

        return make(make([]).earlier_commands())

    def roll(self, ledger: Ledger | None = None) -> dict[str, Any]:
        """Run all steps of a rollout; returns what verify returned, and the receipts."""
        drained = []
        for wave in range(1, len(self.waves) + 1):
            drained += self.roll_wave(wave, ledger)
        return {**self.run(self.step(Settle, ledger, len(self.waves))), "drained": drained}

    def roll_wave(self, wave: int, ledger: Ledger | None = None) -> list[dict[str, Any]]:
        """Run the steps of one wave; returns the receipts."""
        self.run(self.step(ScaleOut, ledger, wave))
        self.run(self.step(AwaitCapacity, ledger, wave))
        chunks = self.run(self.step(Retire, ledger, wave))
        return [one for ids in chunks for one in self.run(self.drain(ids, ledger, wave))]


def world(
    size: int = 2, maximum: int = 4, *, seed: int = 1, waves: tuple[str, ...] = ("100%",), **group: Any
) -> World:
    """Make an account whose fleet serves version 1, and open a journal in it.

    :param group: more parameters of ``put_fleet``.
    """
    aws = direct(seed)
    made = put_fleet(aws, image_id=aws.image("application-1"), size=size, maximum=maximum, **group)
    wire = Wire(aws)
    s3 = wire.client("s3")
    return opened(
        World(aws, made, Clients(wire.client), ledger(aws, "run-1", s3), size, waves=waves, wire=wire)
    )


def direct(seed: int = 1) -> DirectAccount:
    """Make a direct account with the bucket and the drain document, whose instances drain well.

    It has no topics until a test makes one, as an account behind the wire.
    """
    aws = direct_account(seed)
    aws.hypervisor.default.answer = receipt
    aws.published.topics = set()
    aws.objects.create_bucket({"Bucket": BUCKET})
    aws.documents.contents[DOCUMENT] = json.dumps(CONTENT)
    return aws


def wired_world(
    size: int = 2, maximum: int = 4, *, seed: int = 1, waves: tuple[str, ...] = ("100%",), **group: Any
) -> World:
    """Make the same in an account behind the wire and moto, for what a direct account has not.

    It takes some seconds. A direct account has no quotas, no instance types, no alarms and no listeners.

    :param group: more parameters of ``make_fleet``.
    """
    aws = virtual_account(seed=seed)
    aws.hypervisor.default.answer = receipt
    made = make_fleet(aws, image_id=aws.image("application-1"), size=size, maximum=maximum, **group)
    clients = Clients(aws.client)
    clients.s3.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    clients.ssm.create_document(
        Name=DOCUMENT, Content=json.dumps(CONTENT), DocumentType="Command", DocumentFormat="JSON"
    )
    return opened(World(aws, made, clients, ledger(aws, "run-1"), size, waves=waves))


def opened(found: World) -> World:
    """Let a world's fleet come to serve, pin it to version 1, and open the journal with it."""
    serve(found)
    found.clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=found.made.group,
        LaunchTemplate={"LaunchTemplateId": found.made.template_id, "Version": "1"},
    )
    found.ledger.update(lambda journal: _with_fleet(journal, found.made, found.waves))
    found.settle(SETTLE_SECONDS)  # as long as a plan and an apply take at least
    return found


def serve(found: World) -> None:
    """Let a world's fleet come to serve, which is its floor from then on, and open an empty journal."""
    found.settle()
    found.floor = found.picture().ready_count
    assert found.floor == found.size
    found.ledger.open()


def ledger(aws: Account, run: str, s3: Any = None) -> Ledger:
    """Return the journal as a run sees it, on the account's clock.

    :param s3: the run's client, where its calls are to be counted.
    """
    return Ledger(s3 or aws.client("s3"), BUCKET, "production", f"dag/{run}", now=aws.clock.now)


def _with_fleet(journal: Journal, made: Fleet, waves: tuple[str, ...]) -> Journal:
    record = FleetRecord(
        group=made.group,
        launch_template_id=made.template_id,
        termination_hook=made.hook,
        drain_document=DOCUMENT,
        template_before="1",
        waves=waves,
    )
    return journal.model_copy(update={"fleets": {"web": record}})
