"""What one schedule consists of: drawn from its seed, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

WAVES = (
    ("100%",),
    ("1", "100%"),
    ("25%", "100%"),
    ("1", "50%", "100%"),
    ("1", "25%", "60%", "100%"),
    ("3", "100%"),
)


SHAPES = ("template", "template", "template", "mixed", "latest", "two_hooks", "standby")
"""What kind of group it is; those that `begin` refuses are other tests' business."""
LATER_SHAPES = ("default",)
"""Those that :func:`draw` puts in the place of ``template`` now and then."""


@dataclass(frozen=True, kw_only=True)
class FleetPlan:
    """One fleet.

    :ivar shape: one of :data:`SHAPES`.
    :ivar soak_seconds: how long its gate watches new instances; 0 for no gate.
    """

    size: int
    minimum: int
    maximum: int
    waves: tuple[str, ...] = ("100%",)
    target_groups: int = 1
    zones: int = 2
    protect_new: bool = False
    suspended: tuple[str, ...] = ()
    shape: str = "template"
    soak_seconds: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One schedule's fleets, faults and crash points.

    :ivar replace: whether the first run replaces all instances of what runs already.
    :ivar bad_image: whether the first image never gets healthy.
    :ivar leaves_failures: chance that a person ends a failed run before it is rolled back.
    :ivar drains_outside: whether the environment's other DAG runs beside it.
    :ivar call_faults: settings of the sandbox's fault layer, in force while faults are.
    :ivar disturb: chance of a disturbance before a call.
    :ivar kill: chance of a process's death at a call.
    :ivar stall: chance that a worker stands still between a look and its act.
    :ivar calls: after how many calls all faults end.
    :ivar attempts: how often botocore tries a call.
    :ivar disaster: chance of one of the disasters before a call.
    """

    seed: int
    fleets: tuple[FleetPlan, ...]
    replace: bool = False
    bad_image: bool = False
    leaves_failures: float = 0.0
    drains_outside: bool = False
    on_failure: str = "retain"
    default_result: str = "ABANDON"
    heartbeat_seconds: int = 300
    interval_seconds: float = 10.0
    deregistration_seconds: float = 10.0
    boot_seconds: float = 20.0
    command_seconds: float = 2.0
    latency_seconds: float = 0.2
    attempts: int = 8
    call_faults: tuple[dict[str, Any], ...] = ()
    disturb: float = 0.0
    kinds: tuple[str, ...] = ()
    kill: float = 0.0
    stall: float = 0.0
    calls: int = 200
    disaster: float = 0.0
    disasters: tuple[str, ...] = ()

    @property
    def calm(self) -> bool:
        """Whether nothing goes wrong at all."""
        return not (self.call_faults or self.disturb or self.kill or self.stall or self.bad_image)


DISTURBANCES = (
    "scale_out", "scale_in", "set_minimum", "set_maximum", "suspend_other", "protect_old",
    "crash", "terminate_directly", "mark_unhealthy", "agent_gone", "drain_fails",
    "refuse_launch", "zone_full", "new_version", "end_run", "end_run_zombie", "end_run_zombie", "drain_fails",
    "goes_bad", "abort",
)  # fmt: skip


DISASTERS = (
    "spot_interruption", "zone_unreachable", "zone_dies", "boots_fail", "exit_standby", "pause",
)  # fmt: skip


def draw(seed: int) -> Plan:
    """Draw a schedule.

    :param seed: decides everything.
    """
    plan = first_drawn(seed)
    chance = Random(f"more of {seed}")  # noqa: S311  # repeatable, not secret
    if plan.calm:
        return plan
    fleets = tuple(
        replace(fleet, shape=chance.choice(LATER_SHAPES))
        if fleet.shape == "template" and chance.random() < 0.1
        else fleet
        for fleet in plan.fleets
    )
    return replace(
        plan,
        fleets=fleets,
        disaster=chance.choice([0.0, 0.005, 0.02]),
        disasters=tuple(chance.sample(DISASTERS, chance.randint(1, 4))),
    )


def first_drawn(seed: int) -> Plan:
    """Draw what seeds always meant: what is drawn since comes from chances of its own, in :func:`draw`.

    :param seed: decides everything.
    """
    chance = Random(seed)  # noqa: S311  # repeatable, not secret
    stormy = chance.random() < 0.85
    on_failure = chance.choice(["retain", "continue"])
    return Plan(
        seed=seed,
        fleets=tuple(_fleet(chance, most) for most in chance.choice([(60,), (60,), (60,), (12, 6)])),
        replace=chance.random() < 0.1,
        bad_image=stormy and chance.random() < 0.15,
        leaves_failures=chance.choice([0.0, 0.0, 0.5, 1.0]),
        drains_outside=chance.random() < 0.4,
        on_failure=on_failure,
        default_result="ABANDON" if on_failure == "retain" else "CONTINUE",
        heartbeat_seconds=chance.choice([120, 300, 900]),
        interval_seconds=chance.choice([5.0, 10.0, 30.0]),
        deregistration_seconds=chance.choice([0.0, 10.0, 60.0]),
        boot_seconds=chance.choice([5.0, 20.0, 60.0]),
        command_seconds=chance.choice([1.0, 5.0, 45.0]),
        latency_seconds=chance.choice([0.05, 0.3, 2.0]),
        attempts=chance.choice([1, 3, 8, 8]),
        call_faults=_call_faults(chance) if stormy else (),
        disturb=chance.choice([0.0, 0.02, 0.05]) if stormy else 0.0,
        kinds=tuple(chance.sample(DISTURBANCES, chance.randint(1, 6))),
        kill=chance.choice([0.0, 0.005, 0.02]) if stormy else 0.0,
        stall=chance.choice([0.0, 0.0, 0.02]) if stormy else 0.0,
        calls=chance.choice([60, 150, 400]),
    )


def _fleet(chance: Random, most: int) -> FleetPlan:
    """Draw a fleet.

    :param most: its largest size.
    """
    # Small fleets meet most of the rare cases, large ones cost most of the time.
    size = min(most, max(1, round(most ** (chance.random() ** 2))))
    return FleetPlan(
        size=size,
        minimum=min(size, chance.choice([0, 1, size // 2, size, size])),
        maximum=size + chance.choice([0, 0, 1, size // 2, size, 3 * size]),
        waves=chance.choice(WAVES),
        target_groups=chance.choice([0, 1, 1, 1, 2]),
        zones=chance.choice([1, 2, 2, 3]),
        protect_new=chance.random() < 0.1,
        suspended=chance.choice([(), (), (), ("AZRebalance",), ("ScheduledActions",)]),
        shape=chance.choice(SHAPES),
        soak_seconds=chance.choice([0, 0, 20, 90]),
    )


def _call_faults(chance: Random) -> tuple[dict[str, Any], ...]:
    choices: list[dict[str, Any]] = [
        {"fault": "throttle", "action": "*", "rate": 0.2},
        {"fault": "throttle", "action": "autoscaling:*", "rate": 0.5},
        {"fault": "error", "action": "*", "rate": 0.05},
        {"fault": "unavailable", "action": "*", "rate": 0.05},
        {"fault": "lost", "action": "autoscaling:*", "rate": 0.1, "seconds": 5},
        {"fault": "lost", "action": "s3:*", "rate": 0.05, "seconds": 61},
        {"fault": "lost", "action": "ssm:SendCommand", "rate": 0.3},
        {"fault": "dropped", "action": "*", "rate": 0.05},
        {"fault": "slow", "action": "*", "rate": 0.05, "seconds": 20},
        {"fault": "stale", "action": "autoscaling:Describe*", "rate": 0.3, "seconds": 5},
        {"fault": "stale", "action": "*", "rate": 0.2, "seconds": 10},
        {"fault": "error", "action": "s3:PutObject", "rate": 0.1, "code": "ConditionalRequestConflict",
         "message": "A conflicting conditional operation is in progress.", "status": 409},
    ]  # fmt: skip
    return tuple(chance.sample(choices, chance.choice([0, 0, 1, 1, 2, 3])))
