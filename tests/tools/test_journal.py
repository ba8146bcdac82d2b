"""`make journal` on the model of an account: what it shows, and when it lets a journal be ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.serving import make_server

from bakeroll.core import config
from bakeroll.core.errors import JournalError, LockedError
from bakeroll.core.rollout.journal import LEASE_SECONDS, Ledger, releases, report
from bakeroll.core.rollout.waves import ScaleOut
from tests.core.rollout.harness import BUCKET, World, ledger, wired_world, world
from tools import journal as tool

ENVIRONMENT = config.Environment.model_validate(
    {
        "region": "ap-northeast-1",
        "account_id": "123456789012",
        "state_bucket": BUCKET,
        "source_ami": {"owners": ["1"], "name": "debian-*"},
        "application": {"repository": "https://git.example.com/web.git"},
        "terraform": {"root": "terraform/environments/production"},
        "fleets": {"web": {}},
    }
)


def said(w: World) -> str:
    told: list[str] = []
    assert tool.show(w.clients, ENVIRONMENT, "production", w.aws.clock.now, told.append) == 0
    return "\n".join(told)


def end(w: World) -> str:
    told: list[str] = []
    assert tool.end(w.clients, ENVIRONMENT, "production", w.aws.clock.now, told.append) == 0
    return "\n".join(told)


def test_what_is_open_is_shown_and_cannot_be_ended_by_hand() -> None:
    w = world()
    w.release()
    w.run(w.step(ScaleOut))
    text = said(w)
    assert "a rollout is open in s3://state/journal/production.json" in text
    assert "held by       dag/run-1, epoch 1" in text
    assert "more" in text.split("lease")[1].split("\n")[0]
    assert "fleet web     web" in text
    assert "  waves       100%" in text
    assert "  before      MinSize 2, MaxSize 4, new instances not protected" in text
    assert "  raised      by 2: MinSize 2 -> 4, MaxSize 4, done" in text
    assert "  template    version 1 ran before" in text
    assert "  deadlines   wave_1.await_capacity in" in text
    assert "Nothing was released yet" in text
    assert "capacity of fleet web is raised by 2, to be given back" in text
    assert "END=1" not in text
    before = w.ledger.peek()
    w.aws.clock.advance(LEASE_SECONDS + 1)
    with pytest.raises(JournalError, match=r"raised by 2.*start a new run of rolling_deployment_production"):
        end(w)
    assert w.ledger.peek() == before
    assert "nobody acts" in said(w)


def test_a_rollout_that_is_over_leaves_a_release() -> None:
    w = world()
    w.release()
    result = w.roll()
    opened = w.ledger.update(lambda found: found.model_copy(update={"image_id": "ami-2"}))
    releases.record(w.clients.s3, BUCKET, opened, {"fleets": {"web": result}})
    w.ledger.close()
    text = said(w)
    assert "no rollout is open, nobody holds s3://state/journal/production.json" in text
    assert "2026-01-01T00-02-00Z  ami-2  2 replaced  dag/run-1" in text
    assert end(w) == "production: no rollout is open"


def test_a_release_that_was_rolled_back_is_not_taken_for_one() -> None:
    w = world()
    w.release()
    rolled_back = {"outcome": "rolled back"}
    releases.record(w.clients.s3, BUCKET, w.ledger.read(), rolled_back, kind="rolled-back")
    w.ledger.close()
    assert said(w).endswith("dag/run-1  (rolled back)")


def test_a_journal_with_nothing_open_ends_when_its_owner_is_silent() -> None:
    w = world()
    with pytest.raises(JournalError, match=r"dag/run-1 is at work: its lease runs for 45 s more"):
        end(w)
    w.aws.clock.advance(LEASE_SECONDS)
    assert "make journal ENV=production END=1" in said(w)
    assert end(w) == "production: the journal of dag/run-1 is deleted; nothing was open in it"
    assert w.ledger.peek() is None


def test_who_waits_for_an_approval_is_not_ended() -> None:
    w = world()
    until = w.aws.clock.now() + 3600
    w.ledger.update(lambda found: found.model_copy(update={"waits_until": until}))
    w.aws.clock.advance(LEASE_SECONDS + 1)
    assert "waits         for approval, until 2026-01-01 01:02:15 UTC" in said(w)
    with pytest.raises(JournalError, match="waits for a person's approval"):
        end(w)
    w.aws.clock.advance(3600)
    assert "is deleted" in end(w)


def test_what_ran_before_is_kept_once_an_image_is_applied() -> None:
    w = world()
    w.ledger.update(lambda found: found.model_copy(update={"image_id": "ami-2"}))
    w.aws.clock.advance(LEASE_SECONDS + 1)
    with pytest.raises(JournalError, match="only here it is known what ran before"):
        end(w)


def test_instances_that_are_held_keep_the_journal() -> None:
    w = world(2, maximum=4)
    w.clients.autoscaling.update_auto_scaling_group(AutoScalingGroupName=w.made.group, MinSize=1)
    going = w.picture().counted[0].instance_id
    w.clients.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=going, ShouldDecrementDesiredCapacity=True
    )
    w.ledger.update_fleet("web", lambda record: record.model_copy(update={"retired": (going,)}))
    w.aws.clock.advance(LEASE_SECONDS + 1)
    assert f"  retired     {going} (Terminating:Wait)" in said(w)
    with pytest.raises(JournalError, match=f"retired in fleet web are not gone yet: {going}"):
        end(w)


def test_a_journal_that_is_changed_at_this_moment_stays() -> None:
    w = world()
    w.aws.clock.advance(LEASE_SECONDS + 1)

    def meanwhile(_journal: Any) -> None:
        ledger(w.aws, "run-1").update(lambda found: found)

    with pytest.raises(LockedError, match="changed at this moment"):
        w.ledger.end(meanwhile)
    assert w.ledger.peek() is not None


def test_what_others_keep_in_a_journal_is_shown_by_its_name() -> None:
    w = world()
    journal = w.ledger.peek()
    assert journal is not None
    found = report._others(journal, frozenset({"fleets"}))
    assert found["owner"] == "dag/run-1"
    assert "image id" not in found


def test_a_wrong_environment_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["nowhere"]) == 1
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Serve an account where `make up` has its sandbox."""
    w = wired_world()
    server = make_server("127.0.0.1", 0, w.aws.cloud.api)
    monkeypatch.setenv("BAKEROLL_SANDBOX_PORT", str(server.server_port))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield w
    server.shutdown()
    thread.join()


def test_the_sandbox_is_asked_over_http(served: World, capsys: pytest.CaptureFixture[str]) -> None:
    facts = config.load(tool.ENVIRONMENTS / "development.yaml")
    served.clients.s3.create_bucket(
        Bucket=facts.state_bucket, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    theirs = Ledger(served.clients.s3, facts.state_bucket, "development", "dag/run-9", now=time.time)
    theirs.open()
    assert tool.main(["development", "--sandbox"]) == 0
    assert "held by       dag/run-9, epoch 1" in capsys.readouterr().out
    assert tool.main(["development", "--sandbox", "--end"]) == 1
    assert "dag/run-9 is at work: its lease runs for" in capsys.readouterr().err
    theirs.close()
    assert tool.main(["development", "--sandbox", "--end"]) == 0
    assert capsys.readouterr().out == "development: no rollout is open\n"
