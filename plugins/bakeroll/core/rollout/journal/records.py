"""What the journal holds: each fleet before it was changed, what is ours in it, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bakeroll.core.errors import FleetError


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Before(_Record):
    """What a fleet's group looked like before its capacity was raised.

    :ivar standing: the instances that there were: whoever protects one of them from scale-in, it is not us.
    """

    minimum: int
    maximum: int
    protected: bool
    suspended: tuple[str, ...]
    standing: tuple[str, ...] = ()


class Surge(_Record):
    """Capacity that is ours: intent first, then the change.

    :ivar amount: how many instances beyond the live target.
    :ivar minimum: MinSize as we set it last, or are about to.
    :ivar previous: MinSize as it stands until then.
    :ivar maximum: MaxSize as we set it, or are about to.
    :ivar maximum_before: MaxSize as it stands until then; None where it is not changed.
    :ivar base: the capacity that there was when the intent was noted; None in an older journal.
    :ivar protected_before: whether new instances were protected from scale-in when the intent was noted.
    :ivar outbid: whether somebody's MinSize took a part of it, so that more may have to be raised.
    :ivar attempted_at: when the raise was about to be made last; None: never, so no size is ours. 0 in a
        journal from before this was noted: it may have been.
    :ivar applied: whether the raise was seen to have happened.
    :ivar retiring: instances that are terminated by name, each with a decrement.
    :ivar surplus: those of them that are current: a rollback has more of them than are needed.
    :ivar withdrawing: capacity that no instance was launched for yet, and that goes together with MinSize.
    :ivar withdrawn: how much went so.
    :ivar at: when we wrote or did something of this last, in seconds since the epoch.
    """

    amount: int
    minimum: int
    previous: int
    maximum: int
    maximum_before: int | None = None
    base: int | None = None
    protected_before: bool = True
    outbid: bool = False
    attempted_at: float | None = 0.0
    applied: bool = False
    retiring: tuple[str, ...] = ()
    surplus: tuple[str, ...] = ()
    withdrawing: int = 0
    withdrawn: int = 0
    at: float = 0.0

    @property
    def live(self) -> int:
        """The live target when the raise was noted; the minimum was lowered for each that retires since."""
        return max(0, self.minimum + len(self.retiring) - self.amount)

    @property
    def may_stand(self) -> bool:
        """Whether the group may have the sizes noted here from us; without an attempt they are others'."""
        return self.applied or self.attempted_at is not None

    def owns(self, minimum: int) -> bool:
        """Tell whether a MinSize is one that we set or found, and not somebody else's since."""
        return minimum == self.previous or (self.may_stand and minimum == self.minimum)


class Exposure(_Record):
    """What a wave came to when its old instances had gone.

    :ivar current: instances that run the new version, whoever launched them: the rollout, a scaling policy
        or a replacement of an unhealthy one.
    :ivar counted: all instances that count towards desired capacity.
    :ivar retired: how many instances the rollout had terminated so far.
    :ivar at: when, in seconds since the epoch.
    """

    current: int
    counted: int
    retired: int
    at: float


class Watch(_Record):
    """What a wave's gate watches.

    :ivar since: when the watch began, in seconds since the epoch.
    :ivar until: when its soak ends; a retry does not start it again.
    :ivar instances: new instances that were seen to serve since then.
    :ivar fault: why the gate is shut, once it is.
    """

    wave: int
    since: float
    until: float
    instances: tuple[str, ...] = ()
    fault: str | None = None


class Rollback(_Record):
    """That everything goes back to what ran before: noted before the first change.

    :ivar cause: why, in one sentence.
    :ivar began_at: when, in seconds since the epoch.
    :ivar reject: whether the image is to be rejected: it was given to a fleet, and is not what ran before.
    :ivar rejected: whether that is done.
    :ivar reject_failed: what AWS said where it could not be done at the beginning.
    :ivar retired: how many instances each fleet had retired by then; what it retires later goes back.
    """

    cause: str
    began_at: float
    reject: bool
    rejected: bool = False
    reject_failed: str = ""
    retired: dict[str, int] = Field(default_factory=dict)


class Release(_Record):
    """That all fleets run the new version and are verified: from here on a rollback goes back to it.

    :ivar run: the run that brought it about, ``<dag id>/<run id>``.
    :ivar facts: what its record keeps besides the journal.
    """

    run: str
    facts: dict[str, Any]


class FleetRecord(_Record):
    """One fleet in the journal."""

    group: str
    launch_template_id: str
    termination_hook: str
    drain_document: str
    waves: tuple[str, ...] = ("100%",)
    """Shares as they were when the rollout began; a file that is changed meanwhile is refused."""
    template_before: str | None = None
    """Launch template version that ran before this rollout; None on a first deployment."""
    replaces: tuple[str, ...] | None = None
    """Instances that are replaced though nothing of them changed; None if no run asked for that."""
    template_id_before: str | None = None
    """The launch template it is of; None if it is the fleet's own of today."""
    launch_held: bool = False
    """Whether a rollback suspends the group's Launch process, or is about to."""
    before: Before | None = None
    stood: tuple[str, ...] = ()
    """The instances that there were before, once everything is given back."""
    given_back_at: float = 0.0
    """When that was, in seconds since the epoch."""
    surge: Surge | None = None
    retired: tuple[str, ...] = ()
    """All instances that this rollout terminated, in the order of its intents: one that an earlier run did
    not come to, and that was to be retired again, stands here twice."""
    lost: tuple[str, ...] = ()
    """Those of them that went without a receipt, or are let go without one; noted before that is done."""
    retained: tuple[str, ...] = ()
    """Those of them that are kept for a person, or are about to be; noted before that is done."""
    undrained: dict[str, str] = Field(default_factory=dict)
    """Why, by instance id; of all that are lost or retained."""
    let_go: tuple[str, ...] = ()
    """Those whose lifecycle action at our hook is over, while another hook of the group still held them."""
    told: tuple[str, ...] = ()
    """Those of them that people were told of, as far as they could be."""
    untold: str = ""
    """Why nobody could be told, at the last time."""
    gate: Watch | None = None
    exposure: dict[str, Exposure] = Field(default_factory=dict)
    """By number of the wave, for each that is through."""
    deadlines: dict[str, float] = Field(default_factory=dict)
    """Absolute times (seconds since the epoch) by step, set once: a retry does not start them again."""

    @property
    def went(self) -> tuple[str, ...]:
        """All instances that this rollout terminated or was about to, each once."""
        return tuple(dict.fromkeys(self.retired))

    @property
    def untouched(self) -> bool:
        """Whether nothing of the fleet was changed, nor is about to be."""
        return self.before is None and self.surge is None and not self.retired

    def check_waves(self, name: str, waves: Sequence[str]) -> None:
        """Make sure that the environment file has the waves that this rollout has begun with.

        :param name: the fleet's name.
        :param waves: the waves in the file.
        :raises FleetError: if it has others.
        """
        if self.waves != tuple(waves):
            raise FleetError(
                f"fleet {name}: fleets.{name}.waves was changed from {', '.join(self.waves)} to "
                f"{', '.join(waves)} in the middle of a rollout; put it back until the rollout is over"
            )


class Journal(_Record):
    """The whole journal of one environment."""

    version: int = 1
    environment: str
    owner: str
    """The run that may act: ``<dag id>/<run id>``."""
    epoch: int
    """Counts owners; whoever sees another epoch than its own has lost the right to act."""
    lease_until: float
    opened_at: float
    image_id: str | None = None
    waits_until: float | None = None
    """Until when a person may approve the plan: nobody renews the lease meanwhile."""
    apply_epoch: int | None = None
    """The epoch in which Terraform began to apply last; before that a run has changed nothing."""
    applied_at: float | None = None
    """When Terraform had applied last, in seconds since the epoch."""
    rollback: Rollback | None = None
    release: Release | None = None
    """Noted before the image is tagged and the record is written; whoever goes on finishes that."""
    fleets: dict[str, FleetRecord] = Field(default_factory=dict)


def deadline_name(wave: int, step: str) -> str:
    """Return the name under which the journal keeps a step's deadline."""
    return f"wave_{wave}.{step}"
