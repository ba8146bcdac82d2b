"""The steps of a rollout: raise capacity, await it, retire old instances, give everything back.

Each step describes the fleet, makes one pure decision (:mod:`bakeroll.core.rollout.capacity`), acts once, and
starts over (:mod:`bakeroll.core.steps`). Desired capacity is never written: the surge is a raised
minimum, which AWS follows by itself and below which no scaling policy can go
(https://docs.aws.amazon.com/autoscaling/ec2/userguide/asg-capacity-limits.html).
"""

from bakeroll.core.rollout.waves.await_capacity import AwaitCapacity
from bakeroll.core.rollout.waves.proceed import ANSWER_TIMEOUT, Proceed
from bakeroll.core.rollout.waves.raising import RaisingStep
from bakeroll.core.rollout.waves.retire import DRAIN_CHUNK, RETIRE_BATCH, Retire
from bakeroll.core.rollout.waves.scale_out import ScaleOut
from bakeroll.core.rollout.waves.settle import PROTECTION_CHUNK, Settle
from bakeroll.core.rollout.waves.step import FleetStep

__all__ = [
    "ANSWER_TIMEOUT",
    "DRAIN_CHUNK",
    "PROTECTION_CHUNK",
    "RETIRE_BATCH",
    "AwaitCapacity",
    "FleetStep",
    "Proceed",
    "RaisingStep",
    "Retire",
    "ScaleOut",
    "Settle",
]
