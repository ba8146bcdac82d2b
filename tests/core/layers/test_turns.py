"""One bake per fingerprint, and nothing left over, wherever it is killed."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.ec2.models import ec2_backends

from bakeroll.core.aws import Clients
from bakeroll.core.errors import BakeError, LeftOverError, LockedError, ToolInterruptedError
from bakeroll.core.layers import bakery as bakery_module
from bakeroll.core.layers import images
from bakeroll.core.layers.bakery import Baked, Bakery, Place
from bakeroll.core.layers.left_overs import Begun, LeftOvers
from bakeroll.core.layers.packer import Order
from bakeroll.core.layers.turns import LONGEST_WAIT_SECONDS
from bakeroll.core.lease import LeaseObject
from tests.core.layers.world import ACCOUNT, BUCKET, REGION, World

CHANGES = re.compile("^(Put|Create|Delete|Run|Stop|Terminate|Deregister)")


# Changes until then: lease, inputs, the bake written down; key pair, group and its note, instance.
INSTANCE_RUNS = 7


class Killed(BaseException):
    """Nothing more is done by this process."""


class Mortal:
    """Clients of a process that dies, and makes no call from then on."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self.clients = Clients(self._make)

    def _make(self, service: str) -> Any:
        make: Any = boto3.client
        client = make(service, REGION)
        client.meta.events.register("before-call", self._before)
        client.meta.events.register("after-call", self._after)
        return client

    def _before(self, **_: Any) -> None:
        if self.process and self.process.dead:
            raise Killed

    def _after(self, model: Any, **_: Any) -> None:
        if self.process:
            self.process.changes += bool(CHANGES.match(model.name))
        self._before()


class Process:
    """A worker with the Packer it runs; both are dead after a number of calls that change something."""

    def __init__(self, world: World, dies_after: int = 0, mortal: Mortal | None = None) -> None:
        self.world = world
        self.dies_after = dies_after
        self.changes = 0
        self.clients = world.clients
        if dies_after:
            mortal = mortal or Mortal()
            mortal.process, self.clients = self, mortal.clients

    @property
    def dead(self) -> bool:
        return bool(self.dies_after) and self.changes >= self.dies_after

    def bakery(
        self, name: str = "development", bucket: str = BUCKET, sleep: Callable[[float], object] | None = None
    ) -> Bakery:
        place = Place(
            self.world.packer_dir,
            poll_seconds=15,
            worker_env=self.world.worker_env,
            now=self.world.clock,
            sleep=sleep or self.world.clock.sleep,
        )
        facts = self.world.environment(bucket)
        return Bakery(name, facts, clients=self.clients, place=place, say=self.world.said.append)

    def bake(self, parent: str, bakery: Bakery | None = None, from_number: int = 0) -> Baked:
        return (bakery or self.bakery()).bake(
            "base", parent, commit=None, from_number=from_number, credentials={}, vault_password="x"
        )

    def packer(self, order: Order, *, say: Callable[[str], object], **_: Any) -> str:
        """Make in the account what Packer 1.6.6 makes, in its order, and say what it says."""
        ec2 = self.clients.ec2
        tags = [{"Key": key, "Value": value} for key, value in order.variables["tags"].items()]
        bake = [{"Key": "bakeroll:bake", "Value": order.variables["bake"]}]
        self.world.orders.append(order)
        key = f"packer_{order.image_name}_{order.variables['bake']}"
        ec2.create_key_pair(KeyName=key)
        group = f"packer_{len(self.world.orders)}"
        say(f"Creating temporary security group for this instance: {group}")
        group_id = ec2.create_security_group(GroupName=group, Description="Temporary group for Packer")[
            "GroupId"
        ]
        made = ec2.run_instances(
            ImageId=self.world.debian, MinCount=1, MaxCount=1, KeyName=key, SecurityGroupIds=[group_id],
            TagSpecifications=[{"ResourceType": of, "Tags": [*tags, *bake]} for of in ("instance", "volume")],
        )  # fmt: skip
        instance_id = made["Instances"][0]["InstanceId"]
        say(f"Instance ID: {instance_id}")
        ec2.stop_instances(InstanceIds=[instance_id])
        image_id = ec2.create_image(InstanceId=instance_id, Name=order.image_name)["ImageId"]
        image = images.get(ec2, image_id)
        assert image is not None
        ec2.create_tags(Resources=[image_id], Tags=tags)
        ec2.create_tags(Resources=list(image.snapshots), Tags=tags)
        ec2.terminate_instances(InstanceIds=[instance_id])
        ec2.delete_security_group(GroupId=group_id)
        ec2.delete_key_pair(KeyName=key)
        return image_id


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    monkeypatch.setattr(bakery_module, "tool_versions", lambda env: {"Packer": "1.6.6", "Ansible": "2.19.1"})
    with mock_aws():
        yield World(tmp_path)


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let what stands in for Packer be a process's."""
    return lambda packer: monkeypatch.setattr(bakery_module, "run_packer", packer)


def account(world: World) -> dict[str, set[str]]:
    """Return all there is."""
    ec2, s3 = world.clients.ec2, world.clients.s3
    instances = [
        each
        for held in ec2.describe_instances()["Reservations"]
        for each in held["Instances"]
        if each["State"]["Name"] != "terminated"
    ]
    return {
        "instances": {each["InstanceId"] for each in instances},
        "key pairs": {each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]},
        "groups": {each["GroupName"] for each in ec2.describe_security_groups()["SecurityGroups"]},
        "volumes": {each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]},
        "images": {each["ImageId"] for each in ec2.describe_images(Owners=["self"])["Images"]},
        "snapshots": {each["SnapshotId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]},
        "leases": {
            each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="leases/").get("Contents", [])
        },
    }


def growth(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, int]:
    return {kind: len(after[kind] - before[kind]) for kind in after if after[kind] != before[kind]}


def parent(number: int) -> str:
    return f"ami-{number:017x}"


def test_killed_after_any_change_the_next_try_ends_in_one_image_and_nothing_else(
    world: World, running: Callable[..., None]
) -> None:
    kills, mortal, before = 0, Mortal(), account(world)
    for number in itertools.count(1):
        orders = len(world.orders)
        dying = Process(world, number, mortal)
        running(dying.packer)
        try:
            dying.bake(parent(number))
        except Killed:
            kills += 1
        world.clock.now += 61  # waiting for that is tested below
        heir = Process(world)
        running(heir.packer)
        baked = heir.bake(parent(number))
        after = account(world)
        assert growth(before, after) == {"images": 1, "snapshots": 1}, (number, world.said[-20:])
        before = after
        image = images.get(world.clients.ec2, baked.image_id)
        assert image is not None
        assert images.untagged_parts(world.clients.ec2, image, image.tags) == []
        assert len(world.orders) - orders <= 2
        if not dying.dead:
            break
    assert kills >= 18, "a bake changes something that often"


def test_what_nobody_asks_for_again_is_removed_by_the_next_run(
    world: World, running: Callable[..., None]
) -> None:
    before = account(world)
    dying = Process(world, dies_after=INSTANCE_RUNS)
    running(dying.packer)
    with pytest.raises(Killed):
        dying.bake(parent(1))
    left = growth(before, account(world))
    assert left == {"instances": 1, "key pairs": 1, "groups": 1, "volumes": 1, "leases": 1}
    Process(world).bakery("staging").tidy()
    assert growth(before, account(world)) == left, "not as long as it has to be believed to live"
    world.clock.now += 61
    Process(world).bakery("staging").tidy()
    assert account(world) == before


def test_two_environments_that_ask_at_once_bake_once(world: World, running: Callable[..., None]) -> None:
    first, second = Process(world), Process(world)
    waits = threading.Event()
    results: list[Baked] = []

    def packer(order: Order, **options: Any) -> str:
        assert waits.wait(120)
        return first.packer(order, **options)

    def sleep(_seconds: float) -> None:
        waits.set()
        thread.join(120)  # so that moto is never called from two threads at once

    running(packer)
    thread = threading.Thread(target=lambda: results.append(first.bake(parent(1))))
    thread.start()
    deadline = time.monotonic() + 120
    while not any(line.startswith("baking base-") for line in world.said):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    adopted = second.bake(parent(1), second.bakery("staging", sleep=sleep))
    thread.join(120)
    (baked,) = results
    assert (baked.reused, adopted.reused, len(world.orders)) == (False, True, 1)
    assert adopted.image_id == baked.image_id
    waiting = [line for line in world.said if line.startswith("waiting for")]
    assert waiting == [f"waiting for development's bake of {baked.image_name}: 0 s, lease renewed 0 s ago"]
    assert account(world)["leases"] == set()


def test_who_waits_takes_over_when_the_lease_lapsed_and_says_so(
    world: World, running: Callable[..., None]
) -> None:
    dying = Process(world, dies_after=INSTANCE_RUNS)
    running(dying.packer)
    with pytest.raises(Killed):
        dying.bake(parent(1))
    heir = Process(world)
    running(heir.packer)
    assert not heir.bake(parent(1), heir.bakery("staging")).reused
    name = world.orders[0].image_name
    said = [line for line in world.said if "waiting" in line or "lapsed" in line]
    assert said[0] == f"waiting for development's bake of {name}: 0 s, lease renewed 0 s ago"
    assert said[1] == f"waiting for development's bake of {name}: 15 s, lease renewed 15 s ago"
    assert said[-1] == f"the bake of {name} ended without a word; its lease lapsed and is taken over"


def test_a_packer_that_outlives_its_task_is_waited_for_and_its_image_adopted(
    world: World, running: Callable[..., None]
) -> None:
    dying = Process(world)
    orders: list[Order] = []

    def killed(order: Order, **_: Any) -> str:
        orders.append(order)
        raise ToolInterruptedError("the task is killed, Packer goes on")

    running(killed)
    with pytest.raises(ToolInterruptedError):
        dying.bake(parent(1))
    (key,) = account(world)["leases"]
    held = LeaseObject(world.clients.s3, BUCKET, key, "?").peek()
    assert held is not None
    beside = LeaseObject(world.clients.s3, BUCKET, key, held.owner, now=world.clock)
    began = renewed = world.clock.now

    def sleep(seconds: float) -> None:
        world.clock.sleep(seconds)
        nonlocal renewed
        if world.orders or world.clock.now - renewed < 15:
            return
        beside.update()  # as the process beside Packer does
        renewed = world.clock.now
        if world.clock.now - began > 70:
            dying.packer(orders[0], say=lambda line: None)

    heir = Process(world)
    adopted = heir.bake(parent(1), heir.bakery(sleep=sleep))
    assert (adopted.reused, adopted.image_name, len(orders)) == (True, orders[0].image_name, 1)


def test_a_forced_rebuild_waits_for_a_bake_and_does_not_take_the_image_it_replaces(
    world: World, running: Callable[..., None]
) -> None:
    process = Process(world)
    running(process.packer)
    old = process.bake(parent(1))
    dying = Process(world, dies_after=INSTANCE_RUNS)
    running(dying.packer)
    with pytest.raises(Killed):
        dying.bake(parent(1), from_number=1)
    plain = process.bake(parent(1))
    assert (plain.image_id, plain.reused) == (old.image_id, True)
    running(process.packer)
    forced = process.bake(parent(1), from_number=1)
    assert forced.image_name == old.image_name[:-1] + "1"
    assert growth({kind: set() for kind in account(world)}, account(world))["images"] == 3  # with the source


def test_with_a_bucket_each_the_slower_one_adopts_and_harms_nobody(
    world: World, running: Callable[..., None]
) -> None:
    location: Any = {"LocationConstraint": REGION}
    world.clients.s3.create_bucket(Bucket="another", CreateBucketConfiguration=location)
    slower, faster = Process(world), Process(world)
    made: list[Baked] = []

    def packer(order: Order, **options: Any) -> str:
        running(faster.packer)
        made.append(faster.bake(parent(1), faster.bakery("staging", bucket="another")))
        raise BakeError(f"AMI name {order.image_name} is already in use")

    running(packer)
    adopted = slower.bake(parent(1))
    assert (adopted.image_id, adopted.reused, made[0].reused) == (made[0].image_id, True, False)


def test_a_lost_turn_stops_packer(world: World, running: Callable[..., None]) -> None:
    process = Process(world)
    bakery = process.bakery()
    world.clock.now = time.time()

    def packer(order: Order, **_: Any) -> str:
        (key,) = account(world)["leases"]
        later = time.time() + 1000
        thief = LeaseObject(world.clients.s3, BUCKET, key, "staging/1", now=lambda: later)
        assert thief.take() is not None
        deadline = time.monotonic() + 60
        while not bakery._tool.interrupted and time.monotonic() < deadline:
            time.sleep(0.02)
        raise ToolInterruptedError("stopped")

    running(packer)
    object.__setattr__(bakery._turns, "_seconds", 0.4)
    with pytest.raises(ToolInterruptedError):
        process.bake(parent(1), bakery)
    assert bakery._tool.interrupted
    assert len(account(world)["leases"]) == 1, "the lease of whoever took over stays"


def test_a_bake_that_hangs_is_not_waited_for_for_ever(world: World) -> None:
    process = Process(world)
    hanging = process.bakery("staging")._turns.of("base", "0" * 64)
    assert hanging.take() is None
    held = hanging._lease.peek()
    assert held is not None
    waiting = process.bakery()._turns.of("base", "0" * 64)
    waiting.tell(held)
    world.clock.now += LONGEST_WAIT_SECONDS + 1
    with pytest.raises(
        LockedError, match=r"waited in vain for staging's bake of base-0+\.json: 14401 s; see"
    ):
        waiting.tell(held)


def begun(world: World, **made: Any) -> Begun:
    return Begun("0123456789abcdef", "base-0123456789abcdef-0", **made)


def cleaner(world: World) -> LeftOvers:
    return LeftOvers(
        world.clients.ec2,
        say=world.said.append,
        pause=world.clock.sleep,
        clock=world.clock,
        timeout_seconds=60,
    )


def launch(world: World, key: str, **more: Any) -> str:
    tag = [{"Key": "bakeroll:bake", "Value": "0123456789abcdef"}]
    made = world.clients.ec2.run_instances(
        ImageId=world.debian, MinCount=1, MaxCount=1, KeyName=key,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tag}], **more,
    )  # fmt: skip
    return str(made["Instances"][0]["InstanceId"])


def test_what_a_person_uses_is_not_touched(world: World) -> None:
    ec2 = world.clients.ec2
    theirs = ec2.create_security_group(GroupName="packer_ours", Description="for our builds")["GroupId"]
    ec2.create_key_pair(KeyName="mine")
    launch(world, "mine")  # "launch more like this" of a build instance: the tag is copied
    ec2.create_image(InstanceId=launch(world, "mine"), Name="base-0123456789abcdef-1")
    before = account(world)
    dead = begun(world)
    ec2.create_key_pair(KeyName=dead.key_pair)
    launch(world, dead.key_pair, SecurityGroupIds=[theirs])
    assert cleaner(world).remove(dead, lambda known: None)
    assert account(world) == before


def test_a_failed_image_goes_with_its_snapshots_and_a_pending_one_is_waited_for(world: World) -> None:
    ec2 = world.clients.ec2
    dead = begun(world)
    ec2.create_key_pair(KeyName=dead.key_pair)
    before = account(world)
    image_id = ec2.create_image(InstanceId=launch(world, dead.key_pair), Name=dead.image)["ImageId"]
    record = ec2_backends[ACCOUNT][REGION].amis[image_id]
    record.state = "pending"
    assert not cleaner(world).remove(dead, lambda known: None)
    assert len(account(world)["instances"]) == 1, "AWS is still reading from it"
    record.state = "failed"
    assert cleaner(world).remove(dead, lambda known: None)
    assert account(world) == {**before, "key pairs": set()}


def test_snapshots_of_an_image_that_is_gone_are_found_by_what_they_were_made_of(world: World) -> None:
    ec2 = world.clients.ec2
    dead = begun(world)
    ec2.create_key_pair(KeyName=dead.key_pair)
    before = account(world)
    image_id = ec2.create_image(InstanceId=launch(world, dead.key_pair), Name=dead.image)["ImageId"]
    ec2.deregister_image(ImageId=image_id)
    assert len(account(world)["snapshots"] - before["snapshots"]) == 1
    noted: list[Begun] = []
    assert cleaner(world).remove(dead, noted.append)
    assert account(world) == {**before, "key pairs": set()}
    assert len(noted[0].instances) == 1, "written down before the instance is gone"


def test_a_group_that_stays_in_use_is_said(world: World) -> None:
    ec2 = world.clients.ec2
    group = ec2.create_security_group(GroupName="packer_1", Description="Temporary group for Packer")[
        "GroupId"
    ]

    def refuse(**_: Any) -> None:  # moto deletes a group that is in use
        error: Any = {"Error": {"Code": "DependencyViolation", "Message": "has a dependent object"}}
        raise ClientError(error, "DeleteSecurityGroup")

    ec2.meta.events.register("before-call.ec2.DeleteSecurityGroup", refuse)
    with pytest.raises(LeftOverError, match=f"security group {group} is still in use within 60 s"):
        cleaner(world).remove(begun(world, groups=("packer_1",)), lambda known: None)
