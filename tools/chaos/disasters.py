"""What befalls a fleet besides: zones and spot instances that go, failed boots, people who stop to think.

Drawn beside all else, from chances of its own: so a seed that found something once still plays what it did
(:func:`tools.chaos.plan.first_drawn`).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tools.chaos.others import Others
from tools.chaos.world import World


class Disasters(Others):
    """Draws them.

    :param pause: lets a person pause the rollout at its next wave, for some seconds.
    """

    def __init__(self, world: World, pause: Callable[[float], object]) -> None:
        super().__init__(world)
        self._chance = Random(f"disasters {world.plan.seed}")  # noqa: S311  # repeatable, not secret
        self._rate, self._kinds = world.plan.disaster, world.plan.disasters
        self._pause = pause
        self._does = {
            "spot_interruption": self._interrupt,
            "zone_unreachable": self._zone_unreachable,
            "zone_dies": self._zone_dies,
            "boots_fail": self._boots_fail,
            "exit_standby": self._exit_standby,
            "pause": self._pauses,
        }

    def _interrupt(self) -> None:
        faults = self._world.aws.faults
        self._lose(
            "is interrupted in two minutes",
            lambda one: faults.set({"fault": "spot-interruption", "instance": one}),
        )

    def _victim(self) -> str | None:
        """Draw one that runs: Auto Scaling learns a little later that an instance is being terminated."""
        instances = self._world.aws.account.instances
        found = sorted(one for one in self._truth.in_service() if instances.get(one).state == "running")
        return self._chance.choice(found) if found else None

    def _zone(self) -> str:
        return self._chance.choice(self._truth.group.zones)

    def _zone_unreachable(self) -> None:
        """Cut a zone off for a while: nothing is launched there, and its instances fail their checks."""
        zone, seconds = self._zone(), self._chance.choice([60.0, 240.0, 900.0])
        faults = self._world.aws.faults
        if any(one["fault"] == "lost-zone" for one in faults.list()):
            return
        number = faults.set({"fault": "lost-zone", "zone": zone})
        self._world.say(f"others: {zone} is cut off for {seconds:.0f} s")

        def back() -> None:
            if any(one["id"] == number for one in faults.list()):  # else all faults are over
                faults.clear(number)
                self._world.say(f"others: {zone} is back")

        self._world.aws.clock.call_later(seconds, back)

    def _zone_dies(self) -> None:
        """Lose all that a zone has, and for a while nothing can be launched there."""
        zone, seconds = self._zone(), self._chance.choice([30.0, 120.0, 400.0])
        full, ec2 = self._world.aws.records.full_zones, self._world.plain_client("ec2")
        lost = sorted(one.instance_id for one in self._truth.group.members.values() if one.zone == zone)
        self._world.say(f"others: {zone} dies, and {len(lost)} instances of {self._truth.name} with it")
        full.add(zone)
        self._world.aws.clock.call_later(seconds, lambda: full.discard(zone))
        if lost:
            ec2.terminate_instances(InstanceIds=lost)

    def _boots_fail(self) -> None:
        count = self._chance.choice([1, 2, 5])
        self._world.aws.faults.set({"fault": "boot-failure", "count": count})
        self._world.say(f"others: the next {count} machines will not boot")

    def _exit_standby(self) -> None:
        aside = sorted(
            one.instance_id for one in self._truth.group.members.values() if one.state == "Standby"
        )
        if aside:
            self._change(
                f"a person takes {aside[0]} out of Standby",
                lambda: self._autoscaling.exit_standby(
                    AutoScalingGroupName=self._truth.name, InstanceIds=aside[:1]
                ),
                lambda live: live + 1,
            )
            self._truth.returned.add(aside[0])

    def _pauses(self) -> None:
        seconds = self._chance.choice([30.0, 400.0, 3600.0])
        self._pause(seconds)
        self._world.say(f"others: a person will pause for {seconds:.0f} s after the next wave")
