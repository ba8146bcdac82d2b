"""An account with fleets that serve version 1, the machines in them, and every call that is made to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from botocore.exceptions import ConnectionClosedError

from bakeroll.core import config
from sandbox.direct import Call, DirectAccount, direct_account
from sandbox.model.errors import ServiceError
from sandbox.model.ports import CheckResult, CommandResult
from sandbox.virtual import Behaviour
from tools.chaos.actions import Actions
from tools.chaos.invariants import Actor, Healthy, Invariants
from tools.chaos.plan import FleetPlan, Plan
from tools.chaos.truth import Expected, Truth

BUCKET, ENVIRONMENT, HOOK = "bakeroll-state", "chaos", "drain"
NAMES = ("web", "worker")
"""Of the fleets and of their groups."""
OTHER_HOOK = "somebody-elses"
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
MOVING = {"latest": "$Latest", "default": "$Default"}
"""The version that a group launches from, by the shapes of which that is another one as time goes by."""
BUSY = 5000
"""From so many calls on, their time is shared: calls of processes beside each other go one after the other
here, and a hundred machines that are looked at would keep all others from their turn for hours."""
SEEN = "what the model showed"
"""Added to answers, also to those that come from the past: what is true then is what a task may know."""
SICK = CheckResult(
    healthy=False,
    reason="Target.ResponseCodeMismatch",
    description="Health checks failed with these codes: [500]",
)


class KilledError(BaseException):
    """The process that called is dead: nothing of it runs on, so no ``except`` of its own may catch this."""


class World:
    """The account of one schedule.

    :param plan: the schedule.
    :param folder: an empty folder, for the environment file.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.chance = Random(f"world {plan.seed}")  # noqa: S311  # repeatable, not secret
        self.aws: DirectAccount = direct_account(plan.seed)
        self.story: list[str] = []
        self.calls = 0
        """Tries of calls that reached the account."""
        self.call_names: list[str] = []
        self.actor = Actor("nobody", "")
        self.calm = plan.calm
        self.disturb: Callable[[], object] = lambda: None
        self.kill: Callable[[Call, str], bool] = lambda _call, _when: False
        self.lose: Callable[[Call], bool] = lambda _call: False
        self.last_journal: dict[str, Any] | None = None
        self.released: str | None = None
        """The image that a run has released last: what a failed one goes back to."""
        self.abort = False
        """Whether a person aborts at the next pause."""
        self.pause = 0.0
        """For how many seconds a person thinks at the next pause."""
        self.unforeseen: list[BaseException] = []
        self._image = 0
        self.environment_file = self._environment_file(folder)
        self.environment = config.load(self.environment_file)
        self.fleets = dict(zip(NAMES, plan.fleets, strict=False))
        self.truths = self._make_fleets()
        self.invariants = Invariants(self.truths, self.say)
        self.actions = Actions(self.truths, HOOK, plan.latency_seconds, self.say, self.unforeseen.append)

    @property
    def journal(self) -> dict[str, Any] | None:
        """The journal as it is in the bucket."""
        return next(iter(self.truths.values())).journal()

    def say(self, what: str) -> None:
        """Add a line to the schedule's story."""
        self.story.append(f"{self.aws.clock.now() % 1e6:10.1f} #{self.calls} {what}")

    def client(self, service: str, principal: str) -> Any:
        """Return a run's client: what goes wrong and what is checked goes wrong and is checked here."""
        return self.aws.client(
            service, principal, around=self._around, answered=self._answered, attempts=self.plan.attempts
        )

    def plain_client(self, service: str) -> Any:
        """Return a client of somebody else, to whom nothing happens."""
        return self.aws.client(service, "others")

    def calm_down(self) -> None:
        """End all faults for good."""
        self.calm = True
        self.disturb = lambda: None
        self.kill = lambda _call, _when: False
        self.aws.faults.clear()
        self.aws.records.full_zones.clear()
        self.aws.records.refusals.clear()
        self.say("calm: no more faults")

    def new_image(self, *, bad: bool = False) -> str:
        """Make an image."""
        self._image += 1
        image_id = f"ami-{self._image:017x}"
        self.aws.hypervisor.images[image_id] = self.behaviour(check=SICK if bad else None)
        self.aws.ec2.image_tags[image_id] = {}
        return image_id

    def make_bad(self, image_id: str) -> None:
        """Let an image's instances get sick, those that serve already too."""
        self.aws.hypervisor.images[image_id] = self.behaviour(check=SICK)

    def mend(self, image_id: str) -> None:
        """Let an image's instances get well again."""
        self.aws.hypervisor.images[image_id] = self.behaviour()

    def is_bad(self, image_id: str) -> bool:
        """Tell whether an image's instances do not get healthy."""
        return self.aws.hypervisor.images[image_id].check is SICK

    def behaviour(self, *, check: CheckResult | None = None, **changes: Any) -> Behaviour:
        """Return how machines behave in this schedule."""
        usual: dict[str, Any] = {
            "boot_seconds": self.plan.boot_seconds,
            "command_seconds": self.plan.command_seconds,
            "answer": self._drained,
            "check": check or CheckResult(healthy=True),
        }
        return Behaviour(**(usual | changes))

    def new_version(self, fleet: str, image_id: str) -> str:
        """Add a launch template version."""
        data = {"ImageId": image_id, "InstanceType": "t3.micro"}
        return self.aws.templates.put(template_id(fleet), data, name=fleet)

    def launches(self, fleet: str, version: str) -> dict[str, Any]:
        """Return what UpdateAutoScalingGroup takes to have a fleet launch from a version."""
        shape = self.fleets[fleet].shape
        specification = {
            "LaunchTemplateId": template_id(fleet),
            "Version": MOVING.get(shape, version),
        }
        if shape != "mixed":
            return {"LaunchTemplate": specification}
        launch = {
            "LaunchTemplateSpecification": specification,
            "Overrides": [{"InstanceType": one} for one in ("t3.micro", "t3a.micro")],
        }
        return {"MixedInstancesPolicy": {"LaunchTemplate": launch}}

    def _around(self, call: Call, perform: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._pass_time()
        self.disturb()
        self.calls += 1
        actor = self.actor
        self.actions.called(actor.owner)
        if self.plan.call_faults and not self.calm:
            self.actions.held_up()  # any of its calls may have failed
        self._maybe_die(call, "before")
        if call.operation == "DeleteObject":
            # A second try finds none: the first was done and its answer lost.
            self.last_journal = self.journal or self.last_journal
        self._check(lambda: self.invariants.before(actor, call))
        refusal: ServiceError | None = None
        answer: dict[str, Any] = {}
        try:
            answer = perform()
        except ServiceError as error:
            refusal = error
        if refusal is None:
            self._check(lambda: self.invariants.after(actor, call))
            self._note_release(call)
        self._check(lambda: self.invariants.always(actor))
        if shown := self.invariants.shown(call):
            answer[SEEN] = shown
        self._maybe_die(call, "after")
        if refusal is not None:
            raise refusal
        if self.lose(call):
            self.actions.held_up()
            self.say(f"{actor.owner} {actor.what}: the answer of {call.operation} is lost")
            raise ConnectionClosedError(endpoint_url=f"https://{call.service}.direct/")
        return answer

    def _pass_time(self) -> None:
        """Let a call take its time."""
        beside = 1
        if self.calls >= BUSY:
            beside += sum(len(truth.group.members) for truth in self.truths.values())
        self.aws.clock.advance(self.chance.random() * self.plan.latency_seconds / beside)

    def _maybe_die(self, call: Call, when: str) -> None:
        """End the process that calls, if it is to die here."""
        if self.kill(call, when):
            self.actions.held_up()
            self.say(f"{self.actor.owner} {self.actor.what} is killed {when} {call.operation}")
            raise KilledError

    def _answered(self, call: Call, answer: dict[str, Any]) -> None:
        """Note what an answer shows, when it comes."""
        shown = answer.pop(SEEN, None)
        if isinstance(shown, Healthy):
            self.actor.see(shown.group).targets[call.params["TargetGroupArn"]] = shown.instances
        elif shown is not None:
            self.actor.seen |= shown

    def _note_release(self, call: Call) -> None:
        if call.operation == "PutObject" and (journal := self.journal) and journal["release"]:
            self.released = journal["image_id"]

    def _check(self, check: Callable[[], None]) -> None:
        try:
            check()
        except AssertionError as violation:
            self.unforeseen.append(violation)
            raise KilledError from violation

    def _drained(self, instance_id: str, _script: str) -> CommandResult:
        numbers = {
            "queue_length_before": 1,
            "bytes_before": 512,
            "queue_length_after": 0,
            "bytes_after": 0,
            "unread_bytes": 0,
            "duration_seconds": 1.5,
        }
        for truth in self._fleets_of(instance_id):
            truth.emptied.add(instance_id)
        return CommandResult(status=0, stdout=json.dumps({"bakeroll_receipt": numbers}), stderr="")

    def _fleets_of(self, instance_id: str) -> list[Truth]:
        """Return the fleet of an instance; none if it has gone before its script ended."""
        return [truth for truth in self.truths.values() if instance_id in truth.group.members]

    def drain_answer(self, instance_id: str, kind: str) -> CommandResult:
        """Answer a drain command badly.

        :param kind: ``fails``, ``leaves`` or ``silent``; a machine that was emptied, its application stopped,
            cannot leave anything again.
        """
        if kind == "fails":
            return CommandResult(status=1, stdout="", stderr="fluentd does not answer")
        if kind == "silent":
            return CommandResult(status=0, stdout="done", stderr="")
        empty = any(instance_id in truth.emptied for truth in self.truths.values())
        good = self._drained(instance_id, "")
        if empty:
            return good
        for truth in self._fleets_of(instance_id):
            truth.emptied.discard(instance_id)
        content = json.loads(good.stdout)
        content["bakeroll_receipt"]["bytes_after"] = 77
        return CommandResult(status=0, stdout=json.dumps(content), stderr="")

    def _environment_file(self, folder: Path) -> Path:
        file = folder / "dags" / "environments" / f"{ENVIRONMENT}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "region": "ap-northeast-1",
            "account_id": "123456789012",
            "state_bucket": BUCKET,
            "source_ami": {"owners": ["136693071363"], "name": "debian-12-amd64-*"},
            "application": {"repository": "https://git.example.com/web.git", "ref": "main"},
            "terraform": {"root": f"terraform/environments/{ENVIRONMENT}"},
            "fleets": {
                name: self._settings(fleet) for name, fleet in zip(NAMES, self.plan.fleets, strict=False)
            },
        }
        file.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
        return file

    def _settings(self, fleet: FleetPlan) -> dict[str, Any]:
        settings = {
            "capacity_timeout": "5m",
            "waves": [int(one) if one.isdigit() else one for one in fleet.waves],
            "drain": {
                "timeout": "2m",
                "stop_units": ["web.service"],
                "on_failure": self.plan.on_failure,
            },
        }
        if fleet.soak_seconds:
            settings["gate"] = {"soak": f"{fleet.soak_seconds}s"}
        return settings

    def _make_fleets(self) -> dict[str, Truth]:
        plan, aws = self.plan, self.aws
        aws.objects.create_bucket({"Bucket": BUCKET})
        image_id = self.new_image()
        for name, fleet in self.fleets.items():
            self._make_group(name, fleet, image_id)
        aws.clock.advance(plan.boot_seconds + 2 * plan.interval_seconds + 30)
        truths = {name: self._truth(name, fleet) for name, fleet in self.fleets.items()}
        for name, fleet in self.fleets.items():
            if fleet.shape == "standby":
                self._put_aside(truths[name])
        return truths

    def _make_group(self, name: str, fleet: FleetPlan, image_id: str) -> None:
        plan, aws = self.plan, self.aws
        aws.documents.contents[f"drain-{name}"] = json.dumps(CONTENT)
        arns = [
            aws.target_groups.put(
                f"arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/{name}-{number}/1",
                interval_seconds=plan.interval_seconds,
                deregistration_delay_seconds=plan.deregistration_seconds,
                healthy_threshold=2,
            )
            for number in range(fleet.target_groups)
        ]
        hooks = [
            {
                "LifecycleHookName": HOOK,
                "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                "HeartbeatTimeout": plan.heartbeat_seconds,
                "DefaultResult": plan.default_result,
            }
        ]
        if fleet.shape == "two_hooks":
            hooks.append({**hooks[0], "LifecycleHookName": OTHER_HOOK, "HeartbeatTimeout": 60})
            hooks[-1]["DefaultResult"] = "CONTINUE"
        version = self.new_version(name, image_id)
        autoscaling = self.plain_client("autoscaling")
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            **self.launches(name, version),
            MinSize=fleet.minimum,
            MaxSize=fleet.maximum,
            DesiredCapacity=fleet.size,
            VPCZoneIdentifier=",".join(f"subnet-{zone}" for zone in "abc"[: fleet.zones]),
            TargetGroupARNs=arns,
            HealthCheckType="ELB" if arns else "EC2",
            HealthCheckGracePeriod=120,
            NewInstancesProtectedFromScaleIn=fleet.protect_new,
            LifecycleHookSpecificationList=hooks,
        )
        if fleet.suspended:
            autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=list(fleet.suspended))

    def _truth(self, name: str, fleet: FleetPlan) -> Truth:
        expected = Expected(
            minimum={fleet.minimum},
            maximum={fleet.maximum},
            protect_new=fleet.protect_new,
            suspended=set(fleet.suspended),
            low=fleet.size,
            high=fleet.size,
        )
        truth = Truth(self.aws, name, BUCKET, ENVIRONMENT, self.plan.on_failure, expected)
        if len(truth.ready()) != fleet.size:
            raise RuntimeError(f"the fleet did not come up: {truth.group}")
        return truth

    def _put_aside(self, truth: Truth) -> None:
        """Let a person look at one instance, another serving in its place."""
        self.plain_client("autoscaling").enter_standby(
            AutoScalingGroupName=truth.name,
            InstanceIds=[min(truth.group.members)],
            ShouldDecrementDesiredCapacity=False,
        )
        self.aws.clock.advance(self.plan.boot_seconds + 2 * self.plan.interval_seconds + 60)


def template_id(fleet: str) -> str:
    """Return the id of a fleet's launch template."""
    return f"lt-{NAMES.index(fleet):017x}"
