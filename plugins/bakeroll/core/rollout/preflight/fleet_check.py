"""What is looked at in one fleet before anything moves: its shape, hooks, document, agents, head-room."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core import config
from bakeroll.core.aws import Clients, error_code
from bakeroll.core.errors import FleetError
from bakeroll.core.layers import images
from bakeroll.core.rollout import fleet as fleets
from bakeroll.core.rollout import shapes
from bakeroll.core.rollout.capacity import live_target, share_of, surge_left
from bakeroll.core.rollout.drains import commands
from bakeroll.core.rollout.journal import FleetRecord
from bakeroll.core.rollout.lifecycle_actions import ENDINGS, RETAINED
from bakeroll.core.rollout.preflight import headroom
from bakeroll.core.rollout.preflight.headroom import Findings, Need
from bakeroll.core.rollout.rollback.target import image_of, target_of

if TYPE_CHECKING:
    from mypy_boto3_autoscaling.type_defs import AutoScalingGroupTypeDef, LifecycleHookTypeDef

TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"

DRAIN_SCHEDULE = timedelta(minutes=5)
"""How often instances that wait outside deployments are looked for (dags/drain_terminating.py): a hook that
waits no longer would let them go before anybody comes."""

AGENT_SECONDS = 300.0
"""How long after its launch an instance's SSM agent may be silent: it registers when it has booted."""

AGENTS_A_CALL = 50
"""Instance ids in one filter of DescribeInstanceInformation."""

DOCUMENT_PARAMETERS = frozenset({"StopUnits", "TimeoutSeconds"})

REFRESHING = frozenset({"Pending", "InProgress", "Cancelling", "RollbackInProgress", "Baking"})
"""States of an instance refresh in which it replaces instances
(API reference, DescribeInstanceRefreshes, Status)."""


class FleetCheck:
    """Looks at one fleet; what it finds is said without the fleet's name.

    :param record: the fleet in the journal.
    :param asg: its group as DescribeAutoScalingGroups has it.
    :param settings: the fleet in the environment file; None if it is gone from there.
    :param now: seconds since the epoch.
    """

    def __init__(
        self,
        clients: Clients,
        name: str,
        record: FleetRecord,
        *,
        asg: AutoScalingGroupTypeDef,
        settings: config.Fleet | None,
        now: float,
    ) -> None:
        self._clients = clients
        self._name = name
        self._record = record
        self._asg = asg
        self._settings = settings
        self._now = now
        self.found = Findings()

    def look(self) -> Need | None:
        """Look at all that can be looked at; returns what the fleet needs, None if that cannot be told."""
        refused = shapes.refusals(self._asg)
        self.found.problems += refused
        retains = self._hooks()
        self._document()
        self._refresh()
        self._put_aside()
        if refused:
            return None
        try:
            fleet = fleets.describe(
                self._clients, self._name, self._record.group, self._record.replaces or ()
            )
        except FleetError as error:
            self.found.problems.append(str(error).removeprefix(f"fleet {self._name}: "))
            return None
        self._agents([one.instance_id for one in fleet.counted if one.in_service], retains=retains)
        self._balancers()
        if fleet.ready_count < fleet.desired:
            self.found.notes.append(f"only {fleet.ready_count} of {fleet.desired} instances serve now")
        step = max(0, largest_step(live_target(fleet, self._record), self._record.waves))
        coming = max(0, step - surge_left(fleet, self._record))
        targets = headroom.targets(self._clients, fleet.target_groups, coming)
        self.found.problems += targets.problems
        self.found.notes += targets.notes
        data = self._clients.ec2.describe_launch_template_versions(
            LaunchTemplateId=fleet.template_id, Versions=[fleet.template_version]
        )["LaunchTemplateVersions"]
        template = data[0]["LaunchTemplateData"] if data else {}
        self._images(template.get("ImageId", ""))
        return headroom.need(self._name, coming, self._asg, template)

    def _images(self, launched: str) -> None:
        """Look whether what the group launches, and what a rollback would, has not been cleaned up."""
        before = target_of(self._record)
        wanted = {launched, (image_of(self._clients, before) or "") if before else ""}
        for image_id in sorted(wanted - {""}):
            if not images.can_be_launched(self._clients.ec2, image_id):
                self.found.notes.append(
                    f"image {image_id} is gone: nothing can be launched of it, neither in place of what "
                    "fails nor by a rollback; have clean-ups spare images that launch templates use"
                )

    def _hooks(self) -> bool:
        """Look at the lifecycle hooks; returns whether an instance that cannot be drained is kept."""
        group, name = self._record.group, self._record.termination_hook
        hooks = self._clients.autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=group)[
            "LifecycleHooks"
        ]
        leaving = {
            one["LifecycleHookName"]: one for one in hooks if one["LifecycleTransition"] == TERMINATING
        }
        others = sorted(set(leaving) - {name})
        if others:
            self.found.notes.append(
                f"terminating instances are also held by {', '.join(others)}, which whoever made it completes"
            )
        if name not in leaving:
            self.found.problems.append(
                f"{group} has no termination hook {name}, so nothing can be drained; apply Terraform"
            )
            return False
        self._timeout(leaving[name])
        if not self._keeps(leaving[name]):
            return False
        policy = self._asg.get("InstanceLifecyclePolicy", {})
        if policy.get("RetentionTriggers", {}).get("TerminateHookAbandon") != "retain":
            self.found.problems.append(
                f"{group} terminates an instance whose drain is given up, though it is to be retained; "
                "let the deployer set its InstanceLifecyclePolicy (autoscaling:UpdateAutoScalingGroup)"
            )
        return True

    def _keeps(self, hook: LifecycleHookTypeDef) -> bool:
        """Look whether the hook does by itself what this environment's file asks for."""
        result = hook.get("DefaultResult")
        if self._settings is None:
            return result == "ABANDON"
        wanted = self._settings.drain.on_failure
        if result != ENDINGS[wanted]:
            self.found.notes.append(
                f"drain.on_failure is {wanted}, but hook {hook['LifecycleHookName']} ends with {result} what "
                "nobody drained in time; set on_failure in terraform.tfvars as well and apply"
            )
        return wanted == "retain"

    def _timeout(self, hook: LifecycleHookTypeDef) -> None:
        waits = hook["HeartbeatTimeout"]
        needed = {
            f"drains outside deployments come every {DRAIN_SCHEDULE.total_seconds():.0f} s": DRAIN_SCHEDULE
        }
        if self._settings:
            drain = self._settings.drain.timeout
            needed[f"its drain.timeout is {drain.total_seconds():.0f} s"] = drain
        short = [why for why, least in needed.items() if waits <= least.total_seconds()]
        if short:
            self.found.problems.append(
                f"hook {hook['LifecycleHookName']} of {self._record.group} waits {waits} s, but "
                f"{' and '.join(short)}; raise drain.heartbeat_timeout_seconds in terraform.tfvars and apply"
            )

    def _document(self) -> None:
        name = self._record.drain_document
        try:
            document = self._clients.ssm.describe_document(Name=name)["Document"]
        except ClientError as error:
            if error_code(error) != "InvalidDocument":
                raise
            self.found.problems.append(f"there is no SSM document {name}; apply Terraform")
            return
        if document.get("Status") != "Active":
            self.found.problems.append(
                f"SSM document {name} is {document.get('Status')}: {document.get('StatusInformation', '')}; "
                "apply Terraform"
            )
        missing = DOCUMENT_PARAMETERS - {str(one.get("Name")) for one in document.get("Parameters", [])}
        if missing:
            self.found.problems.append(
                f"SSM document {name} takes no {', '.join(sorted(missing))}; apply terraform/modules/drain"
            )

    def _refresh(self) -> None:
        refreshes = self._clients.autoscaling.describe_instance_refreshes(
            AutoScalingGroupName=self._record.group, MaxRecords=10
        )["InstanceRefreshes"]
        running = next((one for one in refreshes if one.get("Status") in REFRESHING), None)
        if running:
            self.found.problems.append(
                f"{self._record.group} has an instance refresh ({running['InstanceRefreshId']}, "
                f"{running['Status']}), which replaces the same instances; wait for its end or cancel it"
            )

    def _put_aside(self) -> None:
        states = {one["InstanceId"]: one["LifecycleState"] for one in self._asg.get("Instances", [])}
        if aside := sorted(one for one, state in states.items() if state in fleets.STANDBY_STATES):
            self.found.notes.append(
                f"{', '.join(aside)} in Standby is left alone; back in service, the next run replaces it"
            )
        if kept := sorted(one for one, state in states.items() if state == RETAINED):
            self.found.notes.append(
                f"{', '.join(kept)} is retained: save its buffers, then terminate it by name"
            )

    def _agents(self, instance_ids: Sequence[str], *, retains: bool) -> None:
        online: set[str] = set()
        for start in range(0, len(instance_ids), AGENTS_A_CALL):
            online |= commands.online(self._clients.ssm, instance_ids[start : start + AGENTS_A_CALL])
        silent = sorted(set(instance_ids) - online)
        if not silent:
            return
        young = self._launched_lately() & set(silent)
        if young:
            self.found.notes.append(f"the SSM agents of {_some(sorted(young))} have yet to register")
        dead = [one for one in silent if one not in young]
        if not dead:
            return
        line = f"the SSM agent of {_some(dead)} does not answer, so it cannot be drained"
        if retains:
            self.found.problems.append(
                f"{line}; look at the agent and the instance's role, or terminate it by name, which keeps "
                "its disk"
            )
        else:
            self.found.notes.append(f"{line}; what its log buffers hold is lost when it goes")

    def _launched_lately(self) -> set[str]:
        """Return the instances that were launched a moment ago, the newest activities first."""
        pages = self._clients.autoscaling.get_paginator("describe_scaling_activities").paginate(
            AutoScalingGroupName=self._record.group
        )
        found: set[str] = set()
        for page in pages:
            for activity in page["Activities"]:
                if activity["StartTime"].timestamp() < self._now - AGENT_SECONDS:
                    return found
                what, _, instance_id = activity.get("Description", "").partition(": ")
                if what.startswith("Launching"):
                    found.add(instance_id)
        return found

    def _balancers(self) -> None:
        idle = [
            arn
            for arn, balancer in fleets.balancers(self._clients, self._record.group).items()
            if not balancer
        ]
        for arn in sorted(idle):
            self.found.problems.append(
                f"target group {headroom.target_group_name(arn)} is behind no load balancer, so no instance "
                "in it ever becomes healthy; give it a listener or detach it"
            )


def largest_step(live: int, waves: Sequence[str]) -> int:
    """Return how many instances the largest of the waves replaces.

    :param live: the live target.
    :param waves: shares of it that are current after each wave.
    """
    shares = [0, *(share_of(live, wave) for wave in waves)]
    return max(after - before for before, after in itertools.pairwise(shares))


def _some(instance_ids: Sequence[str]) -> str:
    rest = len(instance_ids) - 5
    return ", ".join(instance_ids[:5]) + (f" and {rest} more" if rest > 0 else "")
