"""A lease under two takers, lost answers and holders that say nothing more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from bakeroll.core.errors import LeaseLostError
from bakeroll.core.lease import LeaseObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SECONDS = 60.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Disturbed:
    """An S3 client of which one call is disturbed."""

    def __init__(self, s3: S3Client, method: str, disturb: Callable[[Callable[[], Any]], Any]) -> None:
        self._s3, self._method, self._disturb = s3, method, disturb

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._s3, name)
        if name != self._method or self._disturb is None:
            return call

        def once(**arguments: Any) -> Any:
            disturb, self._disturb = self._disturb, None  # type: ignore[assignment]
            return disturb(lambda: call(**arguments)) if disturb else call(**arguments)

        return once


def lost_answer(call: Callable[[], Any]) -> Any:
    """Do as botocore does when a call worked and its answer was lost: try again."""
    call()
    return call()


@pytest.fixture
def s3() -> Iterator[S3Client]:
    with mock_aws():
        client = boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
        client.create_bucket(Bucket="state")
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(s3: S3Client, clock: Clock) -> Callable[..., LeaseObject]:
    return lambda owner, client=s3: LeaseObject(
        client, "state", "leases/a.json", owner, now=clock, seconds=SECONDS
    )


def test_one_holds_it_until_it_gives_it_back(lease: Callable[..., LeaseObject]) -> None:
    mine, theirs = lease("a/1"), lease("b/1")
    taken = mine.take()
    assert taken is not None
    assert (taken.holder, taken.epoch) == ("a", 1)
    assert theirs.take() is None
    mine.release()
    assert mine.peek() is None
    assert theirs.take() is not None
    mine.release()
    assert theirs.peek() is not None, "what is not ours is left alone"


def test_another_try_of_the_same_environment_is_another_owner(lease: Callable[..., LeaseObject]) -> None:
    lease("a/1").take()
    assert lease("a/2").take() is None
    assert lease("a/1").take() is not None


def test_one_that_lapsed_is_taken_over_with_its_facts(
    lease: Callable[..., LeaseObject], clock: Clock
) -> None:
    dead = lease("a/1")
    dead.take()
    dead.update(lambda facts: {**facts, "begun": ["x"]})
    clock.now += SECONDS - 1
    assert lease("b/1").take() is None
    clock.now += 1
    taken = lease("b/1").take()
    assert taken is not None
    assert (taken.epoch, taken.facts) == (2, {"begun": ["x"]})
    with pytest.raises(LeaseLostError, match="b took it over; run again"):
        dead.update()


def test_renewing_keeps_it_and_lapsing_lets_it_go(lease: Callable[..., LeaseObject], clock: Clock) -> None:
    mine = lease("a/1")
    mine.take()
    for _ in range(3):
        clock.now += SECONDS - 1
        assert lease("b/1").take() is None
        mine.update()
    mine.lapse()
    assert lease("b/1").take() is not None


def test_a_late_holder_of_whom_nobody_took_it_goes_on(
    lease: Callable[..., LeaseObject], clock: Clock
) -> None:
    mine = lease("a/1")
    mine.take()
    clock.now += 10 * SECONDS
    assert mine.update().until == clock.now + SECONDS


@pytest.mark.parametrize("lapsed", [False, True])
def test_of_two_that_take_it_at_once_one_gets_it(
    lease: Callable[..., LeaseObject], s3: S3Client, clock: Clock, *, lapsed: bool
) -> None:
    if lapsed:
        lease("dead/1").take()
        clock.now += SECONDS

    def overtaken(call: Callable[[], Any]) -> Any:
        assert lease("b/1").take() is not None
        return call()

    assert lease("a/1", Disturbed(s3, "put_object", overtaken)).take() is None
    held = lease("c/1").peek()
    assert held is not None
    assert held.owner == "b/1"


def test_it_is_taken_though_the_answer_was_lost(
    lease: Callable[..., LeaseObject], s3: S3Client, clock: Clock
) -> None:
    first = lease("a/1", Disturbed(s3, "put_object", lost_answer)).take()
    assert first is not None
    assert first.owner == "a/1"
    clock.now += SECONDS
    second = lease("b/1", Disturbed(s3, "put_object", lost_answer)).take()
    assert second is not None
    assert (second.owner, second.epoch) == ("b/1", 2)


def test_renewing_and_giving_back_though_the_answer_was_lost(
    lease: Callable[..., LeaseObject], s3: S3Client
) -> None:
    lease("a/1").take()
    lease("a/1", Disturbed(s3, "put_object", lost_answer)).update(lambda facts: {**facts, "n": 1})
    assert lease("a/1").update().facts == {"n": 1}
    lease("a/1", Disturbed(s3, "delete_object", lost_answer)).release()
    assert lease("a/1").peek() is None


def test_one_that_is_gone_is_lost(lease: Callable[..., LeaseObject]) -> None:
    with pytest.raises(LeaseLostError, match="it is gone"):
        lease("a/1").update()


def test_it_is_kept_beside_what_is_done(s3: S3Client) -> None:
    mine = LeaseObject(s3, "state", "leases/b.json", "a/1", seconds=0.4)
    first = mine.take()
    assert first is not None
    said: list[str] = []
    lost = threading.Event()
    with mine.kept(warn=said.append, lost=lost.set):
        thief = LeaseObject(s3, "state", "leases/b.json", "b/1", seconds=60, now=lambda: first.until + 100)
        renewed = threading.Event()
        for _ in range(600):
            held = mine.peek()
            assert held is not None
            if held.renewed_at > first.renewed_at:
                renewed.set()
                break
            lost.wait(0.05)
        assert renewed.is_set()
        assert thief.take() is not None
        assert lost.wait(30)
    assert "b took it over" in said[-1]
