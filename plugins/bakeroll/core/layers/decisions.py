"""Which layers are baked and which reused, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bakeroll.core.errors import ImageError, RejectedError
from bakeroll.core.layers.fingerprint import Document, compare
from bakeroll.core.layers.images import (
    REJECTED,
    RELEASED,
    TAG_FINGERPRINT,
    TAG_LAYER,
    Found,
    Image,
    image_name,
)
from bakeroll.core.layers.inputs import APPLICATION, LAYERS

Rebuild = Literal["none", "application", "application_base", "base"]
# The parent of a layer whose parent is itself about to be baked.
UNKNOWN = ""
_REJECTED_ALL_THE_SAME = ("it was rejected here before, and is deployed by deploy_rejected",)


@dataclass(frozen=True)
class LayerDecision:
    """What becomes of one layer.

    :param bake: whether it is baked; if not, ``image_id`` is used.
    :param reasons: why; one sentence part each.
    :param fingerprint: None while the parent's image does not exist yet.
    :param image_id: the image that is used as it is.
    :param image_name: the name of the image that is used or baked; None as long as it is not known.
    :param from_number: an image of a lower number does not count (more than 0 for a forced rebuild).
    """

    layer: str
    bake: bool
    reasons: tuple[str, ...]
    fingerprint: str | None = None
    image_id: str | None = None
    image_name: str | None = None
    from_number: int = 0

    def sentence(self) -> str:
        """Say it in one line."""
        what = "is baked" if self.bake else f"is reused ({self.image_id})"
        return f"{self.layer} {what}: {'; '.join(self.reasons)}"


@dataclass(frozen=True)
class Decisions:
    """What becomes of all layers.

    :param layers: one decision each, parents first.
    :param source_ami: what ``base`` is built from.
    :param commit: the application's commit; None if an existing image is deployed.
    :param sources: commits of the roles and collections from git repositories, by repository and ref.
    """

    layers: tuple[LayerDecision, ...]
    source_ami: str | None
    commit: str | None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_to_bake(self) -> str | None:
        """The first layer that is baked, None if none is."""
        return next((decision.layer for decision in self.layers if decision.bake), None)

    def of(self, layer: str) -> LayerDecision:
        """Return one layer's decision."""
        return next(decision for decision in self.layers if decision.layer == layer)

    def image_of(self, layer: str, baked: Mapping[str, str]) -> str:
        """Return a layer's image: the one just baked, else the one reused.

        :param baked: image ids by layer, as far as they were baked in this run.
        :raises ImageError: if the layer is to be baked and was not yet.
        """
        image_id = baked.get(layer) or self.of(layer).image_id
        if image_id is None:
            raise ImageError(f"layer {layer} has no image yet: its bake has not run; clear that task")
        return image_id

    def parent_of(self, layer: str, baked: Mapping[str, str]) -> str:
        """Return the image that a layer is built from.

        :raises ImageError: if it is not there yet.
        """
        place = LAYERS.index(layer)
        if place:
            return self.image_of(LAYERS[place - 1], baked)
        if self.source_ami is None:
            raise ImageError(
                "an existing image is deployed, so there is no source AMI to bake from; start a new run"
            )
        return self.source_ami

    def to_json(self) -> dict[str, Any]:
        """Return a value that an XCom can hold: lists, as Airflow would wrap tuples."""
        layers = [{**asdict(decision), "reasons": list(decision.reasons)} for decision in self.layers]
        return {
            "layers": layers,
            "source_ami": self.source_ami,
            "commit": self.commit,
            "sources": dict(self.sources),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Decisions:
        """Return what :meth:`to_json` was made of."""
        layers = (LayerDecision(**{**entry, "reasons": tuple(entry["reasons"])}) for entry in value["layers"])
        return cls(tuple(layers), value["source_ami"], value["commit"], value.get("sources", {}))


def decide(
    source_ami: str,
    *,
    environment: str,
    rebuild: Rebuild,
    describe: Callable[[str, str], Document],
    look: Callable[[Document], Found],
    previous: Callable[[str], Document | None],
    deploy_rejected: bool = False,
) -> tuple[LayerDecision, ...]:
    """Decide on the three layers, parents first.

    Once a layer is baked, those built from it are too: their fingerprint holds an image id that is not
    known yet.

    :param source_ami: image id that ``base`` is built from.
    :param rebuild: this layer is baked although nothing changed, and all that are built on it.
    :param describe: makes the document of a layer and its parent's image id.
    :param look: finds the images of a document.
    :param previous: the document of the newest image of a layer.
    :param deploy_rejected: whether a person wants an image that was rejected all the same.
    :raises RejectedError: if the application image was rejected for this environment and nothing changed
        since.
    """
    decisions: list[LayerDecision] = []
    parent = source_ami
    for layer in LAYERS:
        document = describe(layer, parent)
        if parent == UNKNOWN:
            decision = _on_a_new_parent(document, previous(layer), decisions[-1].layer)
        else:
            decision = judge(
                document,
                look(document),
                previous,
                environment=environment,
                forced=layer == rebuild,
                deploy_rejected=deploy_rejected,
            )
        decisions.append(decision)
        parent = decision.image_id or UNKNOWN
    return tuple(decisions)


def judge(
    document: Document,
    found: Found,
    previous: Callable[[str], Document | None],
    *,
    environment: str,
    forced: bool,
    deploy_rejected: bool = False,
) -> LayerDecision:
    """Decide on one layer whose parent exists.

    :param forced: a new image is wanted although there may be one.
    :param deploy_rejected: a rejected image is as good as any.
    """
    fingerprint = document.fingerprint
    if forced:
        return _bake(document, ["forced"], found.next_number, from_number=found.next_number)
    if found.usable:
        return LayerDecision(
            document.layer, False, ("nothing changed",), fingerprint, found.usable.id, found.usable.name
        )
    if found.pending or found.untagged:
        being_made = found.pending or found.untagged
        reason = (
            f"image {being_made.id} of the same inputs is being made and is adopted" if being_made else ""
        )
        return _bake(document, [reason], being_made.number if being_made else 0)
    if found.rejected and document.layer == APPLICATION:
        image = found.rejected
        if deploy_rejected:
            return LayerDecision(
                APPLICATION,
                False,
                ("nothing changed", *_REJECTED_ALL_THE_SAME),
                fingerprint,
                image.id,
                image.name,
            )
        # The same content would only fail again; baking it under a new number would hide that.
        raise RejectedError(
            f"{environment}: image {image.id} ({image.name}) was rejected here and nothing changed since, so "
            "nothing is deployed; deploy another commit, run with deploy_rejected to deploy it all the same, "
            "or with rebuild=application to bake it again"
        )
    reasons = compare(document, previous(document.layer)) or ["no image of these inputs is available"]
    if found.disabled:
        reasons.append(f"image {found.disabled.id} of the same inputs is disabled (enable it to use it)")
    return _bake(document, reasons, found.next_number)


def existing(
    image_id: str,
    image: Image | None,
    document: Document | None,
    *,
    environment: str,
    deploy_rejected: bool = False,
) -> LayerDecision:
    """Decide to deploy an image that is there already, for a person who named it.

    The image must be available and an application layer's. One that was rejected for this environment is
    deployed only if that is asked for as well. An image without any of our tags was made by other means,
    and is the person's to answer for. An image whose kept inputs name another environment is refused, as
    that one's variables and secrets are in it.

    :param image: None if AWS knows none of this id.
    :param document: the image's inputs, if they were kept.
    :param deploy_rejected: whether an image that was rejected is wanted all the same.
    :raises ImageError: if it may not be deployed.
    """
    named = f"{environment}: image {image_id}"
    if image is None:
        raise ImageError(f"{named} is not in this account and region; correct ami_id")
    if image.state != "available":
        hint = "enable it first" if image.state == "disabled" else "choose another ami_id"
        raise ImageError(f"{named} ({image.name}) is {image.state}; {hint}")
    layer = image.tags.get(TAG_LAYER)
    if layer is not None and layer != APPLICATION:
        raise ImageError(
            f"{named} ({image.name}) is of layer {layer}, not {APPLICATION}; choose another ami_id"
        )
    if document is not None and document.environment != environment:
        raise ImageError(
            f"{named} ({image.name}) was baked for {document.environment}, with its variables; "
            "choose another ami_id"
        )
    reasons = ["asked for by ami_id"]
    if layer is None:
        reasons.append("it has no bakeroll tags, so nothing is known of its inputs")
    if image.judged(environment) == REJECTED:
        if not deploy_rejected:
            raise ImageError(
                f"{named} ({image.name}) was rejected here; set deploy_rejected as well to deploy it all the "
                "same, or choose another ami_id"
            )
        reasons += _REJECTED_ALL_THE_SAME
    elif image.judged(environment) == RELEASED:
        reasons.append(f"it was released in {environment} before")
    return LayerDecision(
        APPLICATION, False, tuple(reasons), image.tags.get(TAG_FINGERPRINT), image.id, image.name
    )


def _on_a_new_parent(document: Document, previous: Document | None, parent_layer: str) -> LayerDecision:
    changes = compare(document, previous, parent_known=False)
    return LayerDecision(document.layer, True, (f"{parent_layer} is baked", *changes))


def _bake(document: Document, reasons: list[str], number: int, *, from_number: int = 0) -> LayerDecision:
    fingerprint = document.fingerprint
    name = image_name(document.layer, fingerprint, number)
    return LayerDecision(document.layer, True, tuple(reasons), fingerprint, None, name, from_number)
