"""Spot interruptions, a lost zone, replacements that fail: in the middle of each part of a rollout.

Beside the rollout ``drain_terminating`` is at work, as it is in every environment. The end has the full live
target, and of each old instance that went it is known what became of its log lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from bakeroll.core.errors import DrainError
from bakeroll.core.rollout.begin import close
from bakeroll.core.rollout.drains import DrainWaiting
from bakeroll.core.rollout.rollback import Restore, SettleBack, end
from bakeroll.core.steps import Done, advance
from sandbox.model.ports import CheckResult
from sandbox.virtual import Behaviour
from tests.core.rollout.drains.support import keep_abandoned
from tests.core.rollout.drains.test_terminations import drain as drain_waiting
from tests.core.rollout.drains.test_terminations import find
from tests.core.rollout.harness import BUCKET, World, receipt, world
from tests.core.rollout.rollback.test_rollback import applied, back, begin_rollback

SIZE = 4
LOST_ZONE = "ap-northeast-1a"
WAKES_EVERY = 15.0
"""How long drain_terminating takes to be woken, in seconds."""
SHOWS_AFTER = 20.0
"""Until health checks show what has happened, in seconds; acts follow each other in no time else."""
LONGEST_REST = 2 * 3600.0
SICK = CheckResult(healthy=False, reason="Target.FailedHealthChecks", description="Health checks failed")


@dataclass
class Story:
    """A rollout in whose middle something happens.

    :ivar old: the instances that were there before.
    :ivar terminated: those that the rollout ended.
    :ivar emptied: those whose drain script was run to its end.
    :ivar happened: whether it has happened.
    :ivar victim: to which instance, where it is one.
    """

    w: World
    at: Callable[[Story], bool]
    fault: Callable[[Story], None]
    old: set[str] = field(default_factory=set)
    emptied: set[str] = field(default_factory=set)
    terminated: set[str] = field(default_factory=set)
    happened: bool = False
    victim: str = ""
    drains: list[DrainWaiting] = field(default_factory=list)
    woken: float = 0.0
    after: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.old = {one.instance_id for one in self.w.picture().instances}
        self.woken = self.w.aws.clock.now()
        self.w.floor = 0  # it is not us who take those that die
        self.w.aws.hypervisor.default.answer = self._empties
        self._insist_on_floor()
        keep_abandoned(self.w)
        self.w.on_pass = self.on_pass

    def _empties(self, instance_id, script):
        self.emptied.add(instance_id)
        return receipt(instance_id, script)

    def _insist_on_floor(self) -> None:
        """Invariant 1, where others take instances too: none that serves goes unless enough others serve."""
        autoscaling = self.w.clients.autoscaling
        terminate = autoscaling.terminate_instance_in_auto_scaling_group

        def checked(**parameters):
            targets = self.w.aws.account.targets.health(self.w.made.target_group_arn)
            healthy = {one.instance_id for one in targets if one.state == "healthy"}
            victim = parameters["InstanceId"]
            assert victim not in healthy or len(healthy) > SIZE, f"{victim} of {len(healthy)} that serve"
            answer = terminate(**parameters)
            self.terminated.add(victim)
            return answer

        autoscaling.terminate_instance_in_auto_scaling_group = checked

    def on_pass(self, w: World) -> None:
        """Let it happen when it is time, and drain_terminating do its work."""
        if not self.happened and self.at(self):
            self.happened = True
            self.fault(self)
            w.aws.clock.advance(SHOWS_AFTER)
        if self.after:
            self.after()
        if w.aws.clock.now() - self.woken >= WAKES_EVERY:
            self.woken = w.aws.clock.now()
            self.drains += [drain_waiting(w, one["instance_ids"]) for one in find(w).chunks]
        for step in list(self.drains):
            try:
                ended = isinstance(advance(step, w.log.append), Done)
            except DrainError as error:  # the task is red, and the next run asks again
                w.log.append(str(error))
                ended = True
            if ended:
                self.drains.remove(step)

    def rest(self) -> None:
        """Let time pass after the run until no old instance waits for anything any more."""
        w, until = self.w, self.w.aws.clock.now() + LONGEST_REST
        while any(
            one.instance_id in self.old and not one.counted and one.lifecycle_state != "Terminating:Retained"
            for one in w.picture().instances
        ):
            assert w.aws.clock.now() < until, w.picture().instances
            w.aws.clock.advance(WAKES_EVERY)
            self.on_pass(w)

    def unaccounted(self, journal) -> set[str]:
        """Return the old instances that went without a receipt, and of which nobody noted that."""
        standing = {one.instance_id for one in self.w.picture().counted}
        noted = {one for record in journal.fleets.values() for one in (*record.lost, *record.retained)}
        pages = self.w.clients.s3.list_objects_v2(Bucket=BUCKET, Prefix="drains/production/")
        for one in pages.get("Contents", []):
            body = self.w.clients.s3.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
            noted.add(json.loads(body)["instance_id"])
        return self.old - standing - self.emptied - noted

    def is_full(self, version: str) -> None:
        """See the live target serve, and everything given back.

        What AWS launched in the place of an old instance that died is new, and stays beyond the live target
        (docs/rollouts.md): a policy takes it back.
        """
        now = self.w.picture()
        left = {one.instance_id for one in now.counted}
        died = self.old - left - self.terminated
        assert self.happened
        assert now.template_version == version
        assert SIZE <= now.desired <= SIZE + len(died)
        assert (now.minimum, now.maximum) == (SIZE, 2 * SIZE)
        assert (len(now.counted), len(now.current), now.ready_count) == (now.desired,) * 3
        assert not now.suspended
        assert not now.new_instances_protected
        assert not any(one.protected for one in now.counted)


def spot(*, old):
    """Interrupt one that serves, where there is one."""

    def happens(story):
        now = story.w.picture()
        among = sorted(now.old if old else now.current, key=now.ready, reverse=True)
        story.victim = among[0].instance_id
        story.w.aws.faults.set(fault="spot-interruption", instance=story.victim)

    return happens


def lost_zone(story):
    story.w.aws.faults.set(fault="lost-zone", zone=LOST_ZONE)


def sick_replacement(story):
    """Let an instance die, and the first that is launched after it never get healthy."""
    known = {one.instance_id for one in story.w.picture().instances}
    crash(story)

    def watch():
        news = {one.instance_id for one in story.w.picture().instances} - known
        if news:
            story.w.aws.hypervisor.instances[min(news)] = Behaviour(check=SICK)
            story.after = None

    story.after = watch


def boot_failures(story):
    """Let an instance die, and the next two that are launched not boot."""
    crash(story)
    story.w.aws.faults.set(fault="boot-failure", count=2)


def crash(story):
    now = story.w.picture()
    story.victim = next(one.instance_id for one in now.counted if now.ready(one))
    story.w.aws.hypervisor.crash(story.victim)


FAULTS = {
    "spot interruption of an old instance": spot(old=True),
    "spot interruption of a current instance": spot(old=False),
    "lost zone": lost_zone,
    "unhealthy replacement": sick_replacement,
    "boot failures": boot_failures,
}


def scaling_out(story):
    return booting(story.w) and not story.terminated


def retiring(story):
    return bool(story.terminated and story.w.picture().old)


def restoring(story):
    journal = story.w.ledger.peek()
    return bool(journal and journal.rollback and story.w.picture().template_version == "1") and booting(
        story.w
    )


def booting(w):
    now = w.picture()
    return any(not now.ready(one) for one in now.current)


@pytest.mark.parametrize("what", FAULTS)
@pytest.mark.parametrize("when", [scaling_out, retiring])
def test_a_rollout_comes_to_its_end(when, what):
    w = world(SIZE, maximum=2 * SIZE)
    story = Story(w, when, FAULTS[what])
    w.release()
    w.roll()
    journal = w.ledger.read()
    close(w.ledger)
    story.is_full("2")
    story.rest()
    assert story.unaccounted(journal) == set()


def test_the_two_minutes_of_a_spot_interruption_are_used():
    """One that is retired in them is drained before its end."""
    w = world(SIZE, maximum=2 * SIZE)
    story = Story(w, retiring, spot(old=True))
    w.release()
    ended = w.roll()
    assert story.victim in story.emptied
    assert story.victim in {one["instance_id"] for one in ended["drained"] if one.get("bytes_after") == 0}
    assert (w.record().lost, w.record().retained) == ((), ())


@pytest.mark.parametrize("what", FAULTS)
def test_a_rollback_comes_to_its_end(what):
    """Of a version that failed after half of the old instances went."""
    w = world(SIZE, maximum=2 * SIZE, waves=("50%", "100%"))
    story = Story(w, restoring, FAULTS[what])
    applied(w, w.release())
    w.roll_wave(1)
    w.run(begin_rollback(w))
    for ids in w.run(back(w, Restore)):
        w.run(w.drain(ids))
    w.run(back(w, SettleBack))
    journal = w.ledger.read()
    end(w.clients, w.ledger, BUCKET)
    story.is_full("1")
    story.rest()
    assert story.unaccounted(journal) == set()
