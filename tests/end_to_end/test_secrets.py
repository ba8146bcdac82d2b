"""Where the secrets of whole deployments were seen: in no argument, log, XCom, bucket or left-over file.

The watch looked on from the first bake to the last drain (tests/secrets_watch.py).
"""

from __future__ import annotations

from demo.settings import environment
from tests.end_to_end.conftest import Outcome
from tests.end_to_end.running_stage import client
from tests.secrets_of_demo import allowed, demo_secrets, written
from tests.secrets_written import unprotected_plans


def test_no_process_showed_a_secret_where_it_must_not(outcome: Outcome) -> None:
    assert outcome.watch.looks > 0
    assert outcome.watch.sightings() != [], "it saw those that are allowed"
    assert outcome.watch.sightings(*allowed()) == []


def test_nothing_that_was_written_shows_a_secret(outcome: Outcome) -> None:
    assert written(outcome.settings, demo_secrets()) == []


def test_saved_plans_are_encrypted_and_expire(outcome: Outcome) -> None:
    s3 = client(outcome.settings, "s3")
    assert unprotected_plans(s3, environment(outcome.settings.checkout).state_bucket) == []
