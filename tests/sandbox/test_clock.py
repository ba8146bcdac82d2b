"""Virtual and real time."""

from __future__ import annotations

import threading

import pytest

from sandbox.clock import RealClock, VirtualClock


def test_actions_run_in_order_of_time_and_of_asking():
    clock, seen = VirtualClock(start=100.0), []
    for when, name in ((105, "late"), (101, "first"), (101, "second"), (90, "past")):
        clock.call_at(when, lambda name=name: seen.append((name, clock.now())))
    clock.advance(5)
    assert seen == [("past", 100.0), ("first", 101.0), ("second", 101.0), ("late", 105.0)]


def test_an_action_may_ask_for_another():
    clock, seen = VirtualClock(start=0.0), []

    def again():
        seen.append(clock.now())
        clock.call_later(2, again)

    clock.call_later(1, again)
    clock.advance_to(6)
    assert seen == [1, 3, 5]
    assert clock.next_time() == 7


def test_cancelled_actions_do_not_run():
    clock, seen = VirtualClock(start=0.0), []
    handle = clock.call_later(1, lambda: seen.append(1))
    assert handle.pending
    handle.cancel()
    clock.advance(2)
    assert seen == []
    assert clock.next_time() is None


@pytest.fixture
def real():
    clock = RealClock()
    clock.start()
    yield clock
    clock.stop()


def test_real_time_runs_actions_and_holds_the_lock(real, caplog):
    ran = threading.Event()

    def fails():
        raise ValueError("on purpose")

    def works():
        # The thread owns the lock already, so it can take it again; another thread cannot.
        other = threading.Thread(target=lambda: free.append(real.lock.acquire(blocking=False)))
        other.start()
        other.join()
        ran.set()

    free = []
    real.call_later(0.02, works)
    real.call_later(0.01, fails)
    assert ran.wait(10)
    assert free == [False]
    assert "a timed action of the sandbox failed" in caplog.text
