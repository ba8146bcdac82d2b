"""A check that cannot fail is worth nothing: each broken guard is seen."""

from __future__ import annotations

import pytest

from tools.chaos.mutations import MUTATIONS, Mutation, caught
from tools.chaos.plan import Plan

SCHEDULES = 400


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_a_broken_guard_is_caught(mutation):
    assert caught(mutation, range(SCHEDULES)) is not None


def test_every_invariant_has_a_guard_that_is_broken():
    assert {mutation.invariant for mutation in MUTATIONS} == {1, 2, 3, 4, 5, 6, 7}


def test_a_guard_that_is_gone_is_an_error():
    with pytest.raises(AttributeError):
        Mutation(1, "nothing", Plan, "no_such_guard", None).applied()
