"""Termination lifecycle actions: kept alive while somebody is at them, and always ended on purpose.

Sources: https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html and
https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-lifecycle-policy.html.
"""

from __future__ import annotations

from typing import Literal, Protocol

from botocore.exceptions import ClientError

from bakeroll.core.aws import Clients, error_code, error_text

HELD = "Terminating:Wait"
RETAINED = "Terminating:Retained"
"""Its hook timed out or was abandoned, and the group keeps it for a person."""
GONE = frozenset({"", "Terminated"})
"""Of an instance that is gone the group knows nothing after a while."""

ENDINGS: dict[str, Literal["ABANDON", "CONTINUE"]] = {"retain": "ABANDON", "continue": "CONTINUE"}
"""How an action ends whose instance could not be drained, by ``drain.on_failure``."""


class Place(Protocol):
    """Where a fleet's instances are held, and by what they are emptied."""

    @property
    def group(self) -> str:
        """Name of the Auto Scaling group."""

    @property
    def termination_hook(self) -> str:
        """Name of the lifecycle hook."""

    @property
    def drain_document(self) -> str:
        """Name of the SSM document."""


def complete(
    clients: Clients, place: Place, instance_id: str, result: Literal["ABANDON", "CONTINUE"]
) -> bool:
    """End an instance's lifecycle action; one that has ended already is fine.

    :return: whether it was still to be ended.
    """
    try:
        clients.autoscaling.complete_lifecycle_action(
            AutoScalingGroupName=place.group,
            LifecycleHookName=place.termination_hook,
            InstanceId=instance_id,
            LifecycleActionResult=result,
        )
    except ClientError as error:
        if not no_action(error):
            raise
        return False  # by a call whose answer was lost, or while another hook holds the instance
    return True


def heartbeat_timeout(clients: Clients, place: Place) -> float | None:
    """Return how many seconds the hook waits for a sign of life; None if the group has no such hook."""
    hooks = clients.autoscaling.describe_lifecycle_hooks(
        AutoScalingGroupName=place.group, LifecycleHookNames=[place.termination_hook]
    )["LifecycleHooks"]
    return float(hooks[0]["HeartbeatTimeout"]) if hooks else None


def heartbeat(clients: Clients, place: Place, instance_id: str) -> None:
    """Tell the hook that somebody is still at an instance; one whose action has ended is fine."""
    try:
        clients.autoscaling.record_lifecycle_action_heartbeat(
            AutoScalingGroupName=place.group,
            LifecycleHookName=place.termination_hook,
            InstanceId=instance_id,
        )
    except ClientError as error:
        if not no_action(error):
            raise  # its action ended since we looked: the next picture shows it


def no_action(error: ClientError) -> bool:
    """Tell whether an error says that an instance waits at this hook no more."""
    return error_code(error) == "ValidationError" and "No active Lifecycle Action" in error_text(error)


def keeps_abandoned(clients: Clients, group: str) -> bool:
    """Tell whether a group keeps an instance whose lifecycle action is abandoned; one that is gone has none.

    Without the policy AWS terminates such an instance at once, and its log buffer is lost with its disk.
    """
    found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])
    policies = [one.get("InstanceLifecyclePolicy", {}) for one in found["AutoScalingGroups"]]
    return all(one.get("RetentionTriggers", {}).get("TerminateHookAbandon") == "retain" for one in policies)


def keep_abandoned(clients: Clients, group: str) -> None:
    """Have a group keep such instances. Terraform's provider 5.100 does not know the policy."""
    clients.autoscaling.update_auto_scaling_group(
        AutoScalingGroupName=group,
        InstanceLifecyclePolicy={"RetentionTriggers": {"TerminateHookAbandon": "retain"}},
    )
