"""Scaling activities: their texts, and the events that tell of their end.

Sources: Auto Scaling user guide, "Verify a scaling activity" and "Amazon EC2 Auto Scaling event reference".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox.model.autoscaling.state import Activity, Group, Member

if TYPE_CHECKING:
    from sandbox.model.account import Account

LAUNCH = "Launch"
TERMINATE = "Terminate"
_DIRECTION = {
    LAUNCH: {"Origin": "EC2", "Destination": "AutoScalingGroup"},
    TERMINATE: {"Origin": "AutoScalingGroup", "Destination": "EC2"},
}


def stamp(seconds: float) -> str:
    """Write a time as activities do: ``2026-01-01T00:00:00Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Activities:
    """Begins and ends activities, for one account."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def sentence(self, text: str) -> str:
        """Begin a sentence of a cause with the time: ``At ... a user request ...``."""
        return f"At {stamp(self._account.clock.now())} {text}"

    def begin(self, group: Group, description: str, cause: str, *, zone: str, subnet_id: str) -> Activity:
        """Begin an activity of a group."""
        activity = Activity(
            activity_id=self._account.new_id(),
            group_name=group.name,
            group_arn=group.arn,
            description=description,
            cause=cause,
            started=self._account.clock.now(),
            details=json.dumps({"Subnet ID": subnet_id, "Availability Zone": zone}),
        )
        group.activities.append(activity)
        return activity

    def step(self, activity: Activity | None, status: str, progress: int) -> None:
        """Note how far an activity is; harmless if it ended."""
        if activity is not None and activity.ended is None:
            activity.status, activity.progress = status, progress

    def end(self, activity: Activity | None, status: str, message: str | None = None) -> None:
        """End an activity; harmless if it ended before."""
        if activity is not None and activity.ended is None:
            activity.status, activity.message, activity.progress = status, message, 100
            activity.ended = self._account.clock.now()

    def refused(self, group: Group, cause: str, message: str, *, zone: str, subnet_id: str) -> None:
        """Record a launch that EC2 refused."""
        message = f"{message} Launching EC2 instance failed."
        description = f"Launching a new EC2 instance.  Status Reason: {message}"
        activity = self.begin(group, description, cause, zone=zone, subnet_id=subnet_id)
        self.end(activity, "Failed", message)
        self._event(group, activity, LAUNCH, None)

    def tell(self, member: Member, kind: str) -> None:
        """Put the event of a member's finished launch or termination on the bus."""
        if member.activity is not None:
            self._event(member.group, member.activity, kind, member.instance_id)

    def _event(self, group: Group, activity: Activity, kind: str, instance_id: str | None) -> None:
        successful = activity.status == "Successful"
        detail: dict[str, Any] = {
            "StatusCode": "InProgress" if successful else activity.status,
            "Description": activity.description,
            "AutoScalingGroupName": group.name,
            "ActivityId": activity.activity_id,
            "RequestId": activity.activity_id,
            "Details": json.loads(activity.details),
            "StatusMessage": activity.message or "",
            "StartTime": stamp(activity.started),
            "EndTime": stamp(activity.ended if activity.ended is not None else self._account.clock.now()),
            "EC2InstanceId": instance_id or "",
            "Cause": activity.cause,
            **_DIRECTION[kind],
        }
        resources = [group.arn]
        if instance_id is not None:
            resources.append(self._account.arn("ec2", f"instance/{instance_id}"))
        outcome = "Successful" if successful else "Unsuccessful"
        self._account.bus.put("aws.autoscaling", f"EC2 Instance {kind} {outcome}", resources, detail)
