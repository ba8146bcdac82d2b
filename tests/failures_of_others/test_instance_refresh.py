"""Where instance refresh, driven by Terraform, fails."""

from __future__ import annotations

import pytest

from tests.failures_of_others.support import (
    SICK,
    AwaitCapacity,
    CapacityError,
    FleetError,
    Retire,
    ScaleOut,
    Settle,
    close,
    peer,
    rollbacks,
    unsettled,
)


@pytest.mark.parametrize("alias", ["$Latest", "$Default"])
def test_a_group_that_launches_from_an_alias_is_rolled_as_any_other(alias):
    """Instance refresh by Terraform: none begins for ``$Latest``, as no number changes."""
    w = peer(3, version=alias)
    old = w.ids()
    w.add_version("ami-2")
    w.roll()
    w.is_all_of("2", 3)
    assert sorted(w.terminated()) == sorted(old)
    assert w.group()["LaunchTemplate"]["Version"] == alias


def test_terraform_returning_early_does_not_make_a_failed_roll_green():
    """terraform-provider-aws #42355: apply is over when the refresh begins, so one that fails looks well."""
    w = peer(3)
    w.release(check=SICK)  # apply has returned, without an error
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError, match="only 0 of 3 in service"):
        w.run(w.step(AwaitCapacity))
    for kind in (Retire, Settle):
        with pytest.raises((CapacityError, FleetError)):
            w.run(w.step(kind))
    with pytest.raises(FleetError, match="capacity of web is still raised"):
        close(w.ledger)
    assert w.healthy_targets() == 3


def test_the_next_apply_without_a_change_does_not_hide_that_the_roll_before_it_failed():
    """terraform-provider-aws #42355: the apply after a failed refresh has nothing to do, and succeeds."""
    w = peer(3)
    w.release(check=SICK)
    assert unsettled(w.clients, w.ledger.read()) == ["web: 3 of 3 instances are not current"]
    w.run(w.step(ScaleOut))
    with pytest.raises(CapacityError):
        w.run(w.step(AwaitCapacity))
    assert unsettled(w.clients, w.ledger.read()) == ["web: 3 of 6 instances are not current"]


def test_a_rollback_goes_to_what_ran_before_and_not_to_the_template_that_the_group_was_moved_to():
    """terraform-provider-aws #34189: the group is moved first, so the goal of the rollback is what broke."""
    w = peer(4, maximum=8, waves=("50%", "100%"))
    bad = w.release()  # which moves the template's default as well
    w.run(w.step(ScaleOut))
    w.run(w.step(AwaitCapacity))
    for ids in w.run(w.step(Retire)):
        w.run(w.drain(ids))
    assert w.group()["LaunchTemplate"]["Version"] == "2"
    rollbacks.roll_back(w)
    w.is_all_of("1", 4)
    assert w.sizes() == (4, 4, 8)
    assert w.lowest_ready == 4
    assert w.group()["LaunchTemplate"]["Version"] == "1", "what Auto Scaling replaces from now on is good"
    assert w.aws.ec2.image_tags[bad] == {"bakeroll:production": "rejected"}
    w.others("ec2").terminate_instances(InstanceIds=sorted(w.ids())[:1])
    w.settle()
    w.is_all_of("1", 4)
