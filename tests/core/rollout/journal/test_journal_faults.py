"""The journal where S3's answers are lost, two runs race for it, and clocks disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws

from bakeroll.core.errors import JournalError, LockedError, OwnershipLostError
from bakeroll.core.rollout.begin import Begin
from bakeroll.core.rollout.journal import LEASE_SECONDS, FleetRecord, Journal, Ledger, releases
from bakeroll.core.steps import Act, Wait

BUCKET, KEY = "state", "journal/production.json"
RECORD = FleetRecord(group="g", launch_template_id="lt-1", termination_hook="h", drain_document="d")


class Clock:
    """A worker's clock."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return its time."""
        return self.now


class Bucket:
    """The state bucket, and what goes wrong with calls to it."""

    def __init__(self) -> None:
        self.s3: Any = self.client()
        self.s3.create_bucket(Bucket=BUCKET)

    @staticmethod
    def client() -> Any:
        """Return a client of its own, as another process has it."""
        return boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )

    def loses_answers(self, action: str, *, times: int = 1) -> Any:
        """Return a client that is cut off after S3 has done as asked, so many times."""
        left = [times]

        def lose(**_: Any) -> None:
            if left[0]:
                left[0] -= 1
                raise ConnectionClosedError(endpoint_url="https://s3")

        client = self.client()
        client.meta.events.register(f"after-call.s3.{action}", lose)
        return client

    def overtaken(self, action: str, meanwhile: Callable[[], object]) -> Any:
        """Return a client before whose first such call somebody else is quicker."""
        done: list[bool] = []

        def first(**_: Any) -> None:
            if not done:
                done.append(True)
                meanwhile()

        client = self.client()
        client.meta.events.register(f"before-call.s3.{action}", first)
        return client


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with mock_aws():
        yield Bucket()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ledger(clock: Clock, owner: str, client: Any) -> Ledger:
    return Ledger(client, BUCKET, "production", owner, now=clock)


def with_fleet(journal: Journal) -> Journal:
    return journal.model_copy(update={"fleets": {"web": RECORD}})


def again(call: Callable[[], Any]) -> Any:
    """Make a call whose answer is lost, and make it again as a retry of the task does."""
    with pytest.raises(ConnectionClosedError):
        call()
    return call()


def test_each_write_may_lose_its_answer(bucket: Bucket, clock: Clock) -> None:
    mine = ledger(clock, "dag/1", bucket.loses_answers("PutObject"))
    assert again(mine.open).epoch == 1
    mine = ledger(clock, "dag/1", bucket.loses_answers("PutObject"))
    again(lambda: mine.update(with_fleet))
    mine = ledger(clock, "dag/1", bucket.loses_answers("PutObject"))
    first = again(lambda: mine.deadline("web", "wave_1.retire", 30))
    clock.now += 20
    assert mine.deadline("web", "wave_1.retire", 30) == first == 1030
    clock.now += LEASE_SECONDS + 1
    heir = ledger(clock, "dag/2", bucket.loses_answers("PutObject"))
    assert again(lambda: heir.take_over(1)).epoch == 2, "a takeover counts once"
    heir = ledger(clock, "dag/2", bucket.loses_answers("DeleteObject"))
    again(heir.close)
    assert heir.peek() is None


def test_a_release_whose_answer_was_lost_is_written_once(bucket: Bucket, clock: Clock) -> None:
    mine = ledger(clock, "dag/1", bucket.s3)
    mine.open()
    opened = mine.update(with_fleet)
    client = bucket.loses_answers("PutObject")
    key = again(lambda: releases.record(client, BUCKET, opened, {"fleets": {"web": 1}}))
    assert releases.record(bucket.s3, BUCKET, opened, {"fleets": {"web": 2}}) == key
    (one,) = releases.newest(bucket.s3, BUCKET, "production", 5)
    assert (one["fleets"], one["run"]) == ({"web": 1}, "dag/1")


def test_each_release_has_an_object_of_its_own(bucket: Bucket, clock: Clock) -> None:
    for number in range(3):
        mine = ledger(clock, f"dag/{number}", bucket.s3)
        releases.record(bucket.s3, BUCKET, mine.open(), {})
        mine.close()
        clock.now += 0.1 if number else 60  # two within one second
    runs = [one["run"] for one in releases.newest(bucket.s3, BUCKET, "production", 2)]
    assert runs == ["dag/2", "dag/1"]


def test_of_two_that_take_over_at_one_moment_one_acts(bucket: Bucket, clock: Clock) -> None:
    dead = ledger(clock, "dag/1", bucket.s3)
    dead.open()
    clock.now += LEASE_SECONDS + 1
    quick = ledger(clock, "dag/2", bucket.s3)
    slow = ledger(clock, "dag/3", bucket.overtaken("PutObject", lambda: quick.take_over(1)))
    with pytest.raises(LockedError, match="dag/2 holds the journal"):
        slow.take_over(1)
    assert quick.read().epoch == 2
    for loser in (dead, slow):
        with pytest.raises(OwnershipLostError, match="dag/2 took the journal over"):
            loser.update(with_fleet)


def test_of_two_that_open_at_one_moment_one_acts(bucket: Bucket, clock: Clock) -> None:
    quick = ledger(clock, "dag/1", bucket.s3)
    slow = ledger(clock, "dag/2", bucket.overtaken("PutObject", quick.open))
    with pytest.raises(LockedError, match="dag/1 holds the journal"):
        slow.open()
    assert quick.read().owner == "dag/1"


def test_an_owner_that_wakes_up_late_writes_nothing(bucket: Bucket, clock: Clock) -> None:
    owner = ledger(clock, "dag/1", bucket.s3)
    owner.open()
    owner.update(with_fleet)

    def taken() -> None:
        clock.now += LEASE_SECONDS + 1
        ledger(clock, "dag/2", bucket.s3).take_over(1)

    sleeper = ledger(clock, "dag/1", bucket.overtaken("PutObject", taken))
    with pytest.raises(OwnershipLostError, match=r"dag/2 took the journal over \(epoch 2\)"):
        sleeper.update_fleet("web", lambda record: record.model_copy(update={"retired": ("i-1",)}))
    journal = owner.peek()
    assert journal is not None
    assert journal.fleets["web"].retired == ()


def test_one_that_wants_to_close_late_leaves_the_heirs_journal(bucket: Bucket, clock: Clock) -> None:
    ledger(clock, "dag/1", bucket.s3).open()

    def taken() -> None:
        clock.now += LEASE_SECONDS + 1
        ledger(clock, "dag/2", bucket.s3).take_over(1)

    late = ledger(clock, "dag/1", bucket.overtaken("DeleteObject", taken))
    with pytest.raises(OwnershipLostError):
        late.close()
    assert ledger(clock, "dag/2", bucket.s3).read().owner == "dag/2"


@pytest.mark.parametrize("ahead", [-600.0, -20.0, 20.0, 600.0])
def test_a_clock_that_is_off_never_takes_from_a_run_that_lives(bucket: Bucket, ahead: float) -> None:
    """Whether a run lives Airflow tells, not a clock; S3 itself refuses one that is 15 minutes off."""
    right = Clock()
    ledger(right, "dag/1", bucket.s3).open()
    other = ledger(Clock(right.now + ahead), "dag/2", bucket.s3)
    with pytest.raises(LockedError, match="still running"):
        Begin(other, "production", alive=lambda _owner: True).look()


def test_a_clock_that_is_behind_only_waits_longer(bucket: Bucket) -> None:
    right, behind = Clock(), Clock(400.0)
    dead = ledger(right, "dag/1", bucket.s3)
    dead.open()
    begin = Begin(ledger(behind, "dag/2", bucket.s3), "production", alive=lambda _owner: False)
    decision = begin.look()
    assert isinstance(decision, Wait)
    assert "its lease lapses in 660 s" in decision.why
    behind.now += 661
    decision = begin.look()
    assert isinstance(decision, Act)
    decision.perform()
    right.now += 661
    with pytest.raises(OwnershipLostError):
        dead.read()


def test_workers_of_one_run_whose_clocks_differ_keep_one_deadline(bucket: Bucket) -> None:
    one, other = Clock(), Clock(1050.0)
    first = ledger(one, "dag/1", bucket.s3)
    first.open()
    first.update(with_fleet)
    when = first.deadline("web", "wave_1.drain", 300)
    second = ledger(other, "dag/1", bucket.s3)
    assert second.deadline("web", "wave_1.drain", 300) == when
    assert second.read().lease_until > other.now, "it renews what looks lapsed to it"


def test_a_journal_of_another_version_is_told_in_one_line(bucket: Bucket, clock: Clock) -> None:
    mine = ledger(clock, "dag/1", bucket.s3)
    body = mine.open().model_dump_json().replace('"version":1', '"version":1,"canary":true')
    bucket.s3.put_object(Bucket=BUCKET, Key=KEY, Body=body.encode())
    with pytest.raises(
        JournalError, match=r"journal/production.json cannot be read \(canary: .*another version"
    ):
        mine.read()


def test_a_takeover_waits_for_nobodys_approval(bucket: Bucket, clock: Clock) -> None:
    mine = ledger(clock, "dag/1", bucket.s3)
    mine.open()
    mine.update(lambda found: found.model_copy(update={"waits_until": clock.now + 86400}))
    clock.now += LEASE_SECONDS + 1
    taken = ledger(clock, "dag/2", bucket.s3).take_over(1)
    assert taken.waits_until is None
