"""What a group, one of its instances, a hook, a waiting lifecycle action and an activity consist of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.clock import Handle

if TYPE_CHECKING:
    from sandbox.model.autoscaling.mixed import MixedInstances
    from sandbox.model.autoscaling.warm_pool import WarmPool

LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"

COUNTING = frozenset({"Pending", "Pending:Wait", "Pending:Proceed", "InService"})
"""Lifecycle states that count towards desired capacity."""
PENDING = frozenset({"Pending", "Pending:Wait", "Pending:Proceed"})
ENDING = frozenset({"Terminating", "Terminating:Wait", "Terminating:Proceed", "Terminating:Retained"})

PROCESSES = (
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
)
TERMINATION_POLICIES = (
    "ClosestToNextInstanceHour",
    "Default",
    "NewestInstance",
    "OldestInstance",
    "OldestLaunchTemplate",
)


@dataclass(frozen=True, kw_only=True)
class TemplateRef:
    """The launch template of a group as it was asked for: ``version`` may be ``$Latest`` or ``$Default``."""

    template_id: str
    name: str
    version: str


@dataclass(kw_only=True)
class Hook:
    """A lifecycle hook."""

    name: str
    transition: str
    heartbeat_timeout_seconds: int = 3600
    default_result: str = "ABANDON"
    notification_metadata: str | None = None

    @property
    def global_timeout_seconds(self) -> int:
        """The longest wait, however many heartbeats: 48 hours or 100 times the heartbeat timeout."""
        return min(48 * 3600, 100 * self.heartbeat_timeout_seconds)


@dataclass(kw_only=True)
class LifecycleAction:
    """A hook that holds an instance."""

    token: str
    hook: Hook
    deadline: float
    """When the global timeout ends the wait."""
    timer: Handle | None = field(default=None, repr=False)


@dataclass(kw_only=True)
class Activity:
    """A scaling activity, as DescribeScalingActivities shows it; times in seconds since the epoch."""

    activity_id: str
    group_name: str
    group_arn: str
    description: str
    cause: str
    started: float
    details: str
    status: str = "InProgress"
    message: str | None = None
    progress: int = 0
    ended: float | None = None


@dataclass(kw_only=True, eq=False)
class Member:
    """An instance of a group."""

    instance_id: str
    group: Group = field(repr=False)
    zone: str
    subnet_id: str
    instance_type: str
    image_id: str
    template: TemplateRef | None
    """The template it was launched from, with the version's number; kept for as long as it lives."""
    launched: float
    state: str = "Pending"
    health: str = "Healthy"
    spot: bool = False
    warm: bool = False
    """Whether it waits in the group's warm pool."""
    from_pool: bool = False
    """Whether it came from there."""
    protected: bool = False
    grace_until: float = 0.0
    registered: bool = False
    """Whether the group has put it into its target groups."""
    activity: Activity | None = None
    actions: dict[str, LifecycleAction] = field(default_factory=dict)
    """Waiting lifecycle actions by token."""
    when_completed: Callable[[str], None] | None = field(default=None, repr=False)
    when_drained: Callable[[], None] | None = field(default=None, repr=False)
    draining: set[tuple[str, int]] = field(default_factory=set)
    """Target group ARN and port of the targets whose deregistration is waited for."""
    health_cause: str = ""


@dataclass(kw_only=True)
class Tag:
    """A tag of a group."""

    value: str
    propagate: bool


@dataclass(kw_only=True, eq=False)
class Group:
    """An Auto Scaling group; names follow the API's, times are in seconds."""

    name: str
    arn: str
    created: float
    min_size: int
    max_size: int
    desired: int
    template: TemplateRef
    """The mixed instances policy's, if it has one."""
    subnets: dict[str, str]
    """Availability zone by subnet id."""
    mixed: MixedInstances | None = None
    subnets_given: bool = True
    """Whether the caller named subnets; else zones, and each zone's default subnet is used."""
    target_groups: dict[str, None] = field(default_factory=dict)
    """ARNs, in the order they were attached."""
    leaving_target_groups: dict[str, None] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    health_check_type: str = "EC2"
    health_check_grace_seconds: int = 0
    default_cooldown: int = 300
    default_instance_warmup: int | None = None
    termination_policies: tuple[str, ...] = ("Default",)
    protect_new: bool = False
    suspended: dict[str, str] = field(default_factory=dict)
    """Reason by process."""
    retain_abandoned: bool | None = None
    """``InstanceLifecyclePolicy``: None if it was never set."""
    service_linked_role_arn: str = ""
    context: str | None = None
    tags: dict[str, Tag] = field(default_factory=dict)
    metrics: dict[str, str] = field(default_factory=dict)
    """Granularity by metric."""
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    warm_pool: WarmPool | None = None
    pool: dict[str, Member] = field(default_factory=dict)
    """What waits in the warm pool; none of it is in ``members``."""
    activities: list[Activity] = field(default_factory=list)
    """Oldest first."""
    deleting: bool = False
    causes: list[str] = field(default_factory=list)
    """Sentences on what changed the desired capacity, for the activities that follow from it."""
    rebalancing: set[str] = field(default_factory=set)
    """Instances launched beyond the desired capacity by AZRebalance, not yet in service."""
    failures: int = 0
    retry_at: float = 0.0
    evaluation: Handle | None = field(default=None, repr=False)
    rebalance: Handle | None = field(default=None, repr=False)

    @property
    def zones(self) -> list[str]:
        """Its availability zones, sorted."""
        return sorted(set(self.subnets.values()))

    def active(self, process: str) -> bool:
        """Tell whether a process is not suspended."""
        return process not in self.suspended

    def capacity(self) -> int:
        """Count the instances that count towards desired capacity."""
        return sum(member.state in COUNTING for member in self.members.values())
