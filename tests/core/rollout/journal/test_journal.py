"""The journal under two writers, lost answers and dead owners."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from bakeroll.core.errors import LockedError, OwnershipLostError
from bakeroll.core.rollout.journal import LEASE_SECONDS, FleetRecord, Ledger

BUCKET = "state"
RECORD = FleetRecord(group="g", launch_template_id="lt-1", termination_hook="h", drain_document="d")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    with mock_aws():
        s3 = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
        )
        s3.create_bucket(Bucket=BUCKET)
        yield lambda owner, client=s3: Ledger(client, BUCKET, "production", owner, now=clock)


def with_fleet(journal):
    return journal.model_copy(update={"fleets": {"web": RECORD}})


def test_open_read_close(ledger):
    mine = ledger("dag/1")
    assert mine.peek() is None
    assert mine.open().epoch == 1
    assert mine.read().owner == "dag/1"
    mine.close()
    assert mine.peek() is None
    mine.close()


def test_opening_twice_is_one_journal(ledger):
    first = ledger("dag/1").open()
    assert ledger("dag/1").open() == first


def test_a_second_run_cannot_open(ledger):
    ledger("dag/1").open()
    with pytest.raises(LockedError, match="dag/1 holds the journal"):
        ledger("dag/2").open()


def test_a_takeover_waits_for_the_lease(ledger, clock):
    ledger("dag/1").open()
    with pytest.raises(LockedError):
        ledger("dag/2").take_over(1)
    clock.now += LEASE_SECONDS + 1
    assert ledger("dag/2").take_over(1).epoch == 2
    with pytest.raises(OwnershipLostError, match=r"dag/2 took the journal over \(epoch 2\)"):
        ledger("dag/1").read()
    with pytest.raises(OwnershipLostError):
        ledger("dag/1").close()


def test_of_two_that_take_over_one_wins(ledger, clock):
    ledger("dag/1").open()
    clock.now += LEASE_SECONDS + 1
    ledger("dag/2").take_over(1)
    with pytest.raises(LockedError):
        ledger("dag/3").take_over(1)


def test_a_takeover_forgets_the_dead_runs_deadlines(ledger, clock):
    dead = ledger("dag/1")
    dead.open()
    dead.update(with_fleet)
    assert dead.deadline("web", "wave_1.capacity", 30) == 1030
    clock.now += LEASE_SECONDS + 1
    heir = ledger("dag/2")
    heir.take_over(1)
    assert heir.deadline("web", "wave_1.capacity", 30) == clock.now + 30


def test_a_deadline_is_set_once(ledger, clock):
    mine = ledger("dag/1")
    mine.open()
    mine.update(with_fleet)
    first = mine.deadline("web", "step", 30)
    clock.now += 20
    assert mine.deadline("web", "step", 30) == first


def test_reading_renews_the_lease_when_half_of_it_has_passed(ledger, clock):
    mine = ledger("dag/1")
    opened = mine.open()
    clock.now += LEASE_SECONDS / 2 + 1
    assert mine.read().lease_until == opened.lease_until + LEASE_SECONDS / 2 + 1


def test_a_write_that_another_task_overtook_is_made_again(ledger):
    mine, other = ledger("dag/1"), ledger("dag/1")
    mine.open()
    mine.update(with_fleet)
    overtaken = []

    def change(record):
        if not overtaken:
            overtaken.append(True)
            other.update_fleet("web", lambda found: found.model_copy(update={"lost": ("i-1",)}))
        return record.model_copy(update={"retired": (*record.retired, "i-2")})

    record = mine.update_fleet("web", change)
    assert (record.lost, record.retired) == (("i-1",), ("i-2",))


def test_an_answer_that_was_lost_opens_no_second_journal(ledger, clock):
    mine = ledger("dag/1")
    mine.open()
    mine.update(with_fleet)
    assert mine.open().fleets == {"web": RECORD}


def test_no_journal_is_no_right_to_act(ledger):
    with pytest.raises(OwnershipLostError, match="is gone; start a new run"):
        ledger("dag/1").read()
