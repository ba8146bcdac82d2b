from __future__ import annotations

from dataclasses import replace

import pytest

from bakeroll.core.errors import ImageError
from bakeroll.core.layers.decisions import Decisions, LayerDecision, Rebuild, decide, existing
from bakeroll.core.layers.fingerprint import Document
from bakeroll.core.layers.images import Found, Image

SOURCE = "ami-source"
ENVIRONMENT = "development"


def document(layer: str, parent: str) -> Document:
    return Document(
        layer, ENVIRONMENT if layer == "application" else None, parent, {"f": "0644 1"}, {"Packer": "1"}
    )


def image(name: str, number: int = 0, state: str = "available", **tags: str) -> Image:
    marks = {f"bakeroll:{key}": value for key, value in tags.items()}
    return Image(f"ami-{name}", f"{name}-0-{number}", state, "", marks, ())


class Account:
    """Images by layer and parent, and the documents of the newest ones."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], Found] = {}
        self.previous: dict[str, Document] = {}

    @classmethod
    def complete(cls) -> Account:
        account, parent = cls(), SOURCE
        for layer in ("base", "application_base", "application"):
            account.found[layer, parent] = Found(usable=image(layer), next_number=1)
            account.previous[layer] = document(layer, parent)
            parent = f"ami-{layer}"
        return account

    def decide(
        self, source: str = SOURCE, rebuild: Rebuild = "none", *, deploy_rejected: bool = False
    ) -> dict[str, LayerDecision]:
        decided = decide(
            source,
            environment=ENVIRONMENT,
            rebuild=rebuild,
            describe=document,
            look=lambda wanted: self.found.get((wanted.layer, wanted.parent), Found()),
            previous=self.previous.get,
            deploy_rejected=deploy_rejected,
        )
        return {decision.layer: decision for decision in decided}


def baked(decided: dict[str, LayerDecision]) -> list[str]:
    return [layer for layer, decision in decided.items() if decision.bake]


def test_the_first_deployment_bakes_all_parents_first() -> None:
    decided = Account().decide()
    assert baked(decided) == ["base", "application_base", "application"]
    assert decided["base"].reasons == ("first build",)
    assert decided["base"].image_name == f"base-{document('base', SOURCE).fingerprint[:16]}-0"
    assert decided["application"].reasons == ("application_base is baked", "first build")
    assert decided["application"].fingerprint is None


def test_nothing_is_baked_if_nothing_changed() -> None:
    decided = Account.complete().decide()
    assert baked(decided) == []
    assert [decision.image_id for decision in decided.values()] == [
        "ami-base",
        "ami-application_base",
        "ami-application",
    ]
    assert {decision.reasons for decision in decided.values()} == {("nothing changed",)}


def test_a_changed_layer_is_baked_and_those_built_from_it_are_too() -> None:
    account = Account.complete()
    account.found["application_base", "ami-base"] = Found()
    account.previous["application_base"] = replace(
        document("application_base", "ami-base"), files={"f": "0644 2"}
    )
    decided = account.decide()
    assert baked(decided) == ["application_base", "application"]
    assert decided["application_base"].reasons == ("files changed: f",)
    assert decided["application"].reasons == ("application_base is baked",)


def test_a_new_source_ami_bakes_all() -> None:
    decided = Account.complete().decide(source="ami-newer")
    assert baked(decided) == ["base", "application_base", "application"]
    assert decided["base"].reasons == (f"source AMI changed {SOURCE} -> ami-newer",)


@pytest.mark.parametrize(
    ("rebuild", "layers"),
    [
        ("none", []),
        ("application", ["application"]),
        ("application_base", ["application_base", "application"]),
        ("base", ["base", "application_base", "application"]),
    ],
)
def test_a_forced_rebuild_bakes_from_there_on(rebuild: Rebuild, layers: list[str]) -> None:
    decided = Account.complete().decide(rebuild=rebuild)
    assert baked(decided) == layers
    if layers:
        first = decided[layers[0]]
        assert (first.reasons, first.from_number) == (("forced",), 1)
        assert first.image_name is not None
        assert first.image_name.endswith("-1")


def test_a_disabled_image_is_named_and_its_name_not_used_again() -> None:
    account = Account.complete()
    account.found["application", "ami-application_base"] = Found(disabled=image("application"), next_number=1)
    decision = account.decide()["application"]
    assert decision.reasons == (
        "no image of these inputs is available",
        "image ami-application of the same inputs is disabled (enable it to use it)",
    )
    assert decision.image_name is not None
    assert decision.image_name.endswith("-1")


@pytest.mark.parametrize("found", [Found(pending=image("base")), Found(untagged=image("base"))])
def test_an_image_being_made_is_adopted(found: Found) -> None:
    account = Account()
    account.found["base", SOURCE] = found
    decision = account.decide()["base"]
    assert decision.bake
    assert decision.reasons == ("image ami-base of the same inputs is being made and is adopted",)
    assert decision.from_number == 0


def test_a_rejected_application_is_neither_deployed_nor_baked_again() -> None:
    account = Account.complete()
    account.found["application", "ami-application_base"] = Found(rejected=image("application"), next_number=1)
    with pytest.raises(
        ImageError, match=r"development: image ami-application .* was rejected here and nothing changed"
    ):
        account.decide()
    assert baked(account.decide(rebuild="application")) == ["application"]


def test_a_rejected_application_is_deployed_if_a_person_asks_for_it() -> None:
    account = Account.complete()
    account.found["application", "ami-application_base"] = Found(rejected=image("application"), next_number=1)
    decision = account.decide(deploy_rejected=True)["application"]
    assert (decision.bake, decision.image_id) == (False, "ami-application")
    assert decision.reasons[1] == "it was rejected here before, and is deployed by deploy_rejected"


def test_a_rejected_parent_is_baked_again() -> None:
    account = Account.complete()
    account.found["base", SOURCE] = Found(rejected=image("base"), next_number=1)
    assert baked(account.decide())[0] == "base"


def test_decisions_survive_json_and_name_parents() -> None:
    account = Account.complete()
    account.found["application_base", "ami-base"] = Found()
    decisions = Decisions(tuple(account.decide().values()), SOURCE, "a" * 40)
    assert Decisions.from_json(decisions.to_json()) == decisions
    assert decisions.first_to_bake == "application_base"
    assert decisions.parent_of("base", {}) == SOURCE
    assert decisions.parent_of("application_base", {}) == "ami-base"
    with pytest.raises(ImageError, match="layer application_base has no image yet"):
        decisions.parent_of("application", {})
    assert decisions.parent_of("application", {"application_base": "ami-new"}) == "ami-new"
    assert decisions.image_of("base", {}) == "ami-base"
    assert decisions.of("base").sentence() == "base is reused (ami-base): nothing changed"


def name(
    found: Image | None, kept: Document | None = None, *, deploy_rejected: bool = False
) -> LayerDecision:
    return existing("ami-application", found, kept, environment=ENVIRONMENT, deploy_rejected=deploy_rejected)


def test_an_existing_image_is_deployed_without_a_bake() -> None:
    decision = name(image("application", layer="application"), document("application", "ami-x"))
    assert (decision.bake, decision.image_id, decision.reasons) == (
        False,
        "ami-application",
        ("asked for by ami_id",),
    )


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({}, "it has no bakeroll tags, so nothing is known of its inputs"),
        (
            {"layer": "application", "development": "rejected"},
            "it was rejected here before, and is deployed by deploy_rejected",
        ),
        ({"layer": "application", "development": "released"}, "it was released in development before"),
    ],
)
def test_what_is_known_of_an_existing_image_is_said(tags: dict[str, str], reason: str) -> None:
    found = replace(image("application"), tags={f"bakeroll:{key}": value for key, value in tags.items()})
    assert name(found, deploy_rejected=True).reasons[1] == reason


@pytest.mark.parametrize(
    ("found", "kept", "said"),
    [
        (None, None, "is not in this account and region"),
        (image("application", state="pending"), None, "is pending; choose another"),
        (image("application", state="disabled"), None, "is disabled; enable it first"),
        (image("application", layer="base"), None, "is of layer base, not application"),
        (
            image("application", layer="application", development="rejected"),
            None,
            "was rejected here; set deploy_rejected as well",
        ),
        (
            image("application", layer="application"),
            replace(document("application", "ami-x"), environment="staging"),
            "was baked for staging",
        ),
    ],
)
def test_an_image_that_may_not_be_deployed_is_refused(
    found: Image | None, kept: Document | None, said: str
) -> None:
    with pytest.raises(ImageError, match=f"development: image ami-application .*{said}"):
        name(found, kept)
