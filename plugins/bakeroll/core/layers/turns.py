"""Whose turn it is to bake a fingerprint: one bake at a time, however many environments ask.

The turn is a lease in the state bucket, ``leases/bakes/<account>/<region>/<layer>-<fingerprint>.json``.
Environments of one account and region that share a bucket share their bakes; with a bucket each they do not
wait for each other, and do each other no harm (see below). What a lease is seen to be decides what is done:

========================  ===========================================================================
lease                     what a task that wants the image does
========================  ===========================================================================
none                      take it, look for the image again: adopt it or bake
live, another
environment's             adopt a usable image if there is one, else wait and look again
live, of an earlier try   wait: its Packer may go on without it; nobody else would clean up after it
lapsed                    take it over, then as below
ours                      1. an image of these inputs that is available or pending is adopted, as soon as
                          it can be used; 2. what dead bakes left is removed; 3. else bake
========================  ===========================================================================

While Packer runs, two renew the lease: the task, and a process beside Packer (:mod:`.lease_keeper`), which
outlives the task as Packer does. So:

- the task is killed, Packer goes on: the lease stays live, the next try waits, and adopts Packer's image;
- Packer is told to stop: it cleans up, which may outlast the task; the lease is live until it has ended;
- Packer is killed, or the machine: nobody renews, the lease lapses, and whoever takes it over knows that
  nobody bakes. Not sooner: even a task that saw its Packer die leaves the lease to lapse, as EC2 may show
  what was made only later.

Before Packer starts, its bake is written into the lease (:class:`.left_overs.Begun`), and is taken out only
when nothing is left of it in the account; a lease with such an entry is never deleted. So the leases list all
that was begun, and :meth:`Turns.tidy` ends also those that nobody asks for again. Only what carries the
token of a listed bake is touched: neither a person's nor another bucket's. Two with a bucket each that bake
the same: the name of the image is taken for the slower one, which adopts the other's image.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core import lease as leases
from bakeroll.core.aws import Clients
from bakeroll.core.errors import BakerollError, LockedError
from bakeroll.core.layers import lease_keeper
from bakeroll.core.layers.left_overs import Begun, LeftOvers
from bakeroll.core.lease import Lease, LeaseObject

LONGEST_WAIT_SECONDS = 4 * 3600.0
"""A bake that lives longer hangs: its waits for an instance and for an image are an hour each."""

_SAID_EVERY_SECONDS = 15.0
# What Packer says before or when it makes something that carries no tag of ours.
_GROUP = re.compile(r"temporary security group for this instance: (packer_[\w-]+)$")
_INSTANCE = re.compile(r"Instance ID: (i-[0-9a-f]+)$")


class Turn:
    """One task's wish to bake one fingerprint.

    :param lease: the fingerprint's lease, on behalf of this task.
    """

    def __init__(
        self,
        lease: LeaseObject,
        left_overs: LeftOvers,
        *,
        say: Callable[[str], object],
        now: Callable[[], float],
    ) -> None:
        self._lease = lease
        self._left_overs = left_overs
        self._say = say
        self._now = now
        self._since: float | None = None
        self._said_at = 0.0

    @property
    def token(self) -> str:
        """The bake's own word, in tags and names."""
        return self._lease.owner.rpartition("/")[2]

    def of_another(self, held: Lease) -> bool:
        """Tell whether another environment holds the turn; of our own only an earlier try can."""
        return held.holder != self._lease.owner.rpartition("/")[0]

    def take(self) -> Lease | None:
        """Take the turn; None if it is ours now, else whose it is."""
        while (ours := self._lease.take()) is None:
            if held := self._lease.peek():
                return held
        if ours.facts.get("begun"):
            names = ", ".join(begun.image for begun in _begun(ours.facts))
            self._say(f"the bake of {names} ended without a word; its lease lapsed and is taken over")
        return None

    def tell(self, held: Lease) -> None:
        """Say now and then for whom is waited.

        :raises LockedError: if that takes longer than a bake does.
        """
        now = self._now()
        self._since = now if self._since is None else self._since
        what = [begun.image for begun in _begun(held.facts)[-1:]] or [self._lease.key.rpartition("/")[2]]
        waited = f"{held.holder}'s bake of {what[0]}: {now - self._since:.0f} s"
        if now - self._since > LONGEST_WAIT_SECONDS:
            raise LockedError(f"waited in vain for {waited}; see what holds its run up, or mark it failed")
        if self._said_at and now - self._said_at < _SAID_EVERY_SECONDS:
            return
        self._said_at = now
        self._say(f"waiting for {waited}, lease renewed {max(0.0, now - held.renewed_at):.0f} s ago")

    @contextmanager
    def held(self, lost: Callable[[], object]) -> Iterator[None]:
        """Keep the turn meanwhile; it is given back if nothing that was begun is left.

        :param lost: called if somebody else took it, as it could not be renewed.
        """
        try:
            with self._lease.kept(warn=self._say, lost=lost):
                yield
        finally:
            # Only then: to renew what was just given back would look as if somebody had taken it.
            held = self._lease.peek()
            if held is not None and not held.facts.get("begun"):
                self._lease.release()

    def begin(self, image: str, tags: Mapping[str, str]) -> None:
        """Write down, before Packer starts, what is begun.

        :param image: name of the image.
        :param tags: of the image.
        :raises LeaseLostError: if it is not our turn any more.
        """
        self._note(Begun(self.token, image, tags=dict(tags)))

    def heard(self, line: str) -> None:
        """Note what a line of Packer's output tells of what it makes."""
        groups, instances = _GROUP.findall(line), _INSTANCE.findall(line)
        if not groups and not instances:
            return
        try:
            self._lease.update(lambda facts: _with_made(facts, self.token, groups, instances))
        except (BakerollError, BotoCoreError, ClientError) as error:
            # No reason to stop a bake that goes well; the instance tells of its security group too.
            self._say(f"not noted for a clean-up after a kill: {', '.join([*groups, *instances])}: {error}")

    def clean(self) -> None:
        """Remove what is left of bakes that ended, and take them off the list.

        :raises LeaseLostError: if it is not our turn any more.
        :raises LeftOverError: if something cannot be removed yet.
        """
        for begun in _begun(self._lease.own().facts):
            if self._left_overs.remove(begun, self._note):
                self._lease.update(lambda facts, done=begun.token: _without(facts, done))  # type: ignore[misc]

    def clean_and_let_go(self) -> None:
        """Clean, and let whoever bakes next try what cannot be cleaned yet.

        :raises LeaseLostError: if it is not our turn any more.
        :raises LeftOverError: if something cannot be removed yet.
        """
        try:
            self.clean()
        finally:
            self._lease.lapse()

    def beside(self, region: str, endpoint: str) -> list[str]:
        """Return what Packer is run by, so that the lease lives as long as Packer does."""
        return lease_keeper.prefix(self._lease, region, endpoint)

    def _note(self, begun: Begun) -> None:
        self._lease.update(
            lambda facts: {
                **facts,
                "begun": [*_without(facts, begun.token)["begun"], begun.to_json()],
            }
        )


class Turns:
    """The turns of all bakes in an environment's account and region.

    :param environment: the environment's name.
    :param account_id: AWS account.
    :param pause: sleeps; may raise to stop a wait.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        bucket: str,
        environment: str,
        account_id: str,
        region: str,
        say: Callable[[str], object],
        pause: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.time,
        seconds: float = leases.SECONDS,
        poll_seconds: float = 5.0,
    ) -> None:
        self._clients = clients
        self._bucket = bucket
        self._environment = environment
        self._folder = f"leases/bakes/{account_id}/{region}/"
        self._say = say
        self._now = now
        self._seconds = seconds
        self._pause = pause
        self._poll_seconds = poll_seconds

    def of(self, layer: str, fingerprint: str) -> Turn:
        """Return a new wish to bake a fingerprint."""
        return self._turn(f"{self._folder}{layer}-{fingerprint}.json")

    def tidy(self) -> None:
        """Clean up after all bakes that ended without a word; what cannot be is said and left for later."""
        pages = self._clients.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._folder
        )
        for key in [entry["Key"] for page in pages for entry in page.get("Contents", [])]:
            turn = self._turn(key)
            if turn.take() is not None:
                continue
            try:
                with turn.held(lost=lambda: None):
                    turn.clean_and_let_go()
            except (BakerollError, BotoCoreError, ClientError) as error:
                self._say(f"{key}: not all that a killed bake left is removed: {error}")

    def _turn(self, key: str) -> Turn:
        owner = f"{self._environment}/{uuid.uuid4().hex[:16]}"
        lease = LeaseObject(self._clients.s3, self._bucket, key, owner, now=self._now, seconds=self._seconds)
        left_overs = LeftOvers(
            self._clients.ec2,
            say=self._say,
            poll_seconds=self._poll_seconds,
            pause=self._pause,
            clock=self._now,
        )
        return Turn(lease, left_overs, say=self._say, now=self._now)


def _begun(facts: Mapping[str, Any]) -> list[Begun]:
    return [Begun.from_json(entry) for entry in facts.get("begun", [])]


def _with_made(
    facts: Mapping[str, Any], token: str, groups: list[str], instances: list[str]
) -> dict[str, Any]:
    known = [
        begun.with_made(groups=groups, instances=instances) if begun.token == token else begun
        for begun in _begun(facts)
    ]
    return {**facts, "begun": [begun.to_json() for begun in known]}


def _without(facts: Mapping[str, Any], token: str) -> dict[str, Any]:
    return {**facts, "begun": [entry for entry in facts.get("begun", []) if entry["token"] != token]}
