"""The fleets that drains outside deployments look at come from Terraform, by way of the bucket."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bakeroll.core import config
from bakeroll.core.rollout.journal import known_fleets
from bakeroll.core.terraform import FleetOutput
from sandbox.direct import direct_account

BUCKET = "state"


def output(name):
    return FleetOutput(f"production-{name}", "lt-1", "production-drain", "production-drain")


def settings(**drain):
    return config.Fleet(drain=config.Drain(**drain))


@pytest.fixture
def s3():
    client = direct_account().client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"})
    return client


def test_before_the_first_deployment_there_are_none(s3):
    assert known_fleets.recall(s3, BUCKET, "production") == {}


def test_a_fleet_is_kept_with_its_settings(s3):
    web = settings(timeout="2m", stop_units=["web.service"])
    known_fleets.remember(s3, BUCKET, "production", {"web": output("web")}, {"web": web})
    (found,) = known_fleets.recall(s3, BUCKET, "production").values()
    assert found.group == "production-web"
    assert found.drain_timeout == timedelta(minutes=2)
    assert found.stop_units == ("web.service",)
    assert known_fleets.recall(s3, BUCKET, "staging") == {}


def test_a_fleet_that_left_the_file_is_emptied_as_before_until_it_is_destroyed(s3):
    made = {"web": output("web"), "worker": output("worker")}
    worker = settings(timeout="9m", stop_units=["worker.service"])
    known_fleets.remember(s3, BUCKET, "production", made, {"web": settings(), "worker": worker})
    known_fleets.remember(s3, BUCKET, "production", made, {"web": settings()})
    assert known_fleets.recall(s3, BUCKET, "production")["worker"].stop_units == ("worker.service",)
    known_fleets.remember(s3, BUCKET, "production", {"web": output("web")}, {"web": settings()})
    assert list(known_fleets.recall(s3, BUCKET, "production")) == ["web"]
