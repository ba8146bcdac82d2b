"""The tasks of one fleet: one group for each wave, then the fleet's verification."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskGroup, chain

from bakeroll.core import config
from bakeroll.operators.proceed import ProceedOperator
from bakeroll.operators.rollout import DrainOperator, FleetOperator
from bakeroll.sensors.capacity import CapacitySensor
from bakeroll.sensors.gate import GateSensor

if TYPE_CHECKING:
    from airflow.sdk.definitions._internal.abstractoperator import AbstractOperator

SKIPPED_IS_FINE = "none_failed_min_one_success"
"""The trigger rule of what follows tasks that may have nothing to do."""


@dataclass(frozen=True)
class Ends:
    """Where a part of the graph begins, and the tasks after which it is through."""

    first: BaseOperator
    last: list[AbstractOperator]


def roll_fleet(name: str, fleet: config.Fleet, facts: dict[str, str]) -> tuple[BaseOperator, FleetOperator]:
    """Wire the waves of one fleet.

    :param name: the fleet's name.
    :param facts: arguments that all operators of the environment take.
    :return: its first and its last task.
    """
    count = len(fleet.waves)
    with TaskGroup(name):
        waves = [_wave(name, number, fleet, facts) for number in range(1, count + 1)]
        verify = FleetOperator(
            task_id="verify", step="verify", fleet=name, wave=count, trigger_rule=SKIPPED_IS_FINE, **facts
        )
    for wave, following in zip(waves, [*(one.first for one in waves[1:]), verify], strict=True):
        wave.last >> following
    return waves[0].first, verify


def _wave(fleet: str, number: int, settings: config.Fleet, facts: dict[str, str]) -> Ends:
    """Wire one wave: raise capacity, see it serve, watch it, let old instances go, drain them.

    :param number: counted from 1.
    """
    arguments: dict[str, Any] = {"fleet": fleet, "wave": number, **facts}
    with TaskGroup(f"wave_{number}"):
        scale_out = FleetOperator(
            task_id="scale_out",
            step="scale_out",
            **arguments,
        )
        await_capacity = CapacitySensor(task_id="await_capacity", **arguments)
        gate = [GateSensor(task_id="gate", **arguments)] if settings.gate.asks else []
        retire = FleetOperator(task_id="retire", step="retire", **arguments)
        drain = DrainOperator.partial(
            task_id="drain", map_index_template="{{ task.title }}", **arguments
        ).expand(instance_ids=retire.output)
        if number < len(settings.waves):
            proceed = ProceedOperator(task_id="proceed", trigger_rule=SKIPPED_IS_FINE, **arguments)
            [retire, drain] >> proceed
            last: list[AbstractOperator] = [proceed]
        else:
            last = [retire, drain]
    chain(scale_out, await_capacity, *gate, retire)
    return Ends(scale_out, last)
