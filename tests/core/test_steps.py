"""Waiting for a step without losing it to an outage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from bakeroll.core.errors import FleetError
from bakeroll.core.steps import FAILED_LOOKS, Act, Decision, Observer, Wait

THROTTLED = ClientError({"Error": {"Code": "Throttling", "Message": "Rate exceeded"}}, "DescribeThings")
AWAY = EndpointConnectionError(endpoint_url="https://autoscaling.example")


class Looks:
    """A step that shows one thing after the other."""

    def __init__(self, *things: Decision | Exception) -> None:
        self._things: Iterator[Decision | Exception] = iter(things)

    def look(self) -> Decision:
        thing = next(self._things)
        if isinstance(thing, Exception):
            raise thing
        return thing


@pytest.mark.parametrize("error", [THROTTLED, AWAY])
def test_an_outage_is_waited_for(error):
    observer = Observer(Looks(error, error, Wait("2 of 8 in service"), Act("raise", print)))
    waits = [observer.look() for _ in range(3)]
    assert waits == [Wait(f"AWS does not answer: {error}")] * 2 + [Wait("2 of 8 in service")]
    assert isinstance(observer.look(), Act)


def test_one_that_does_not_end_is_left_to_the_operator_who_tells_of_it():
    observer = Observer(Looks(*[THROTTLED] * (FAILED_LOOKS + 1)))
    assert all(isinstance(observer.look(), Wait) for _ in range(FAILED_LOOKS))
    assert observer.look() is None


def test_outages_are_counted_in_a_row_only():
    observer = Observer(Looks(*[THROTTLED] * FAILED_LOOKS, Wait("fine"), *[THROTTLED] * FAILED_LOOKS))
    assert all(isinstance(observer.look(), Wait) for _ in range(2 * FAILED_LOOKS + 1))


def test_a_heartbeat_that_fails_is_an_outage_too():
    def beat() -> None:
        raise THROTTLED

    observer = Observer(Looks(Wait("draining", beat), Wait("draining")))
    assert observer.look() == Wait(f"AWS does not answer: {THROTTLED}")
    assert observer.look() == Wait("draining")


def test_what_the_step_itself_says_is_left_to_the_operator():
    assert Observer(Looks(FleetError("fleet web: not current"))).look() is None
