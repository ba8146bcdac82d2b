"""The layers of one environment: decide what is baked, and bake it. What the operators call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core import lease
from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import (
    BakeError,
    BakeHeldUpError,
    BakerollError,
    ImageError,
    ToolInterruptedError,
)
from bakeroll.core.git import Access, Git, Source
from bakeroll.core.layers import decisions as layers
from bakeroll.core.layers import fingerprint, images
from bakeroll.core.layers.decisions import Decisions, LayerDecision, Rebuild
from bakeroll.core.layers.fingerprint import Document
from bakeroll.core.layers.images import Found, Image
from bakeroll.core.layers.inputs import APPLICATION, LAYERS, Inputs, trace
from bakeroll.core.layers.packer import Order, run_packer
from bakeroll.core.layers.sources import prepared
from bakeroll.core.layers.turns import Turn, Turns
from bakeroll.core.layers.versions import tool_versions
from bakeroll.core.process import Tool

# Packer removes its instance, key pair and security group after SIGINT, which takes minutes on AWS.
_GRACE_SECONDS = 300.0
# How many earlier images are looked at for one whose inputs are known.
_PREVIOUS_LOOKED_AT = 10
# A pause is made of such parts, so that a task that is told to stop does not wait for its end.
_LONGEST_SLEEP_SECONDS = 0.5


@dataclass(frozen=True)
class Place:
    """Where and with what images are baked.

    :param packer_dir: the folder of the Packer template.
    :param custom_endpoint_ec2: EC2's address where it is not AWS's own, for Packer; empty on AWS.
    :param variables: values of further template variables, stronger than the variable files. They say
        how an image is made here, never what is in it, as they are no part of the fingerprint.
    :param available_timeout_seconds: how long an image may take to become available.
    :param poll_seconds: pause between two looks at an image that is not available yet.
    :param worker_env: environment to take PATH, HOME and proxies from.
    :param git: what opens private git repositories.
    :param lease_seconds: how long a bake that says nothing is believed to be alive.
    :param now: the clock, in seconds since the epoch.
    :param sleep: what a pause is made of.
    """

    packer_dir: Path
    custom_endpoint_ec2: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    available_timeout_seconds: float = 3600.0
    poll_seconds: float = 5.0
    worker_env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    git: tuple[Access, ...] = ()
    lease_seconds: float = lease.SECONDS
    now: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep


@dataclass(frozen=True)
class Baked:
    """The result of baking one layer.

    :param reused: the image was there already: an earlier try or another run made it.
    """

    layer: str
    image_id: str
    image_name: str
    fingerprint: str
    reused: bool

    def to_json(self) -> dict[str, Any]:
        """Return a value that an XCom can hold."""
        return dict(vars(self))


class Bakery:
    """Decides on and bakes the layers of one environment.

    :param name: the environment's name.
    :param environment: its facts.
    :param say: gets a line for each thing worth knowing.
    """

    def __init__(
        self,
        name: str,
        environment: Environment,
        *,
        clients: Clients,
        place: Place,
        say: Callable[[str], object],
    ) -> None:
        self._name = name
        self._environment = environment
        self._clients = clients
        self._place = place
        self._say = say
        self._tool = Tool(_GRACE_SECONDS)
        self._git = Git(place.git, worker_env=place.worker_env)
        self._packer_dir = place.packer_dir
        self._inputs: dict[str, Inputs] = {}
        self._turns = Turns(
            clients,
            bucket=environment.state_bucket,
            environment=name,
            account_id=environment.account_id,
            region=environment.region,
            say=say,
            pause=self._pause,
            now=place.now,
            seconds=place.lease_seconds,
            poll_seconds=place.poll_seconds,
        )

    def decide(
        self,
        *,
        rebuild: Rebuild = "none",
        application_ref: str | None = None,
        ami_id: str | None = None,
        deploy_rejected: bool = False,
    ) -> Decisions:
        """Decide which layers are baked, and say why.

        :param rebuild: bake this layer although nothing changed, and all that are built on it.
        :param application_ref: deploy this branch, tag or commit rather than the environment's.
        :param ami_id: deploy this existing image and bake nothing.
        :param deploy_rejected: deploy an image although it was rejected for this environment.
        :raises InputError: if inputs or the application's ref cannot be found out.
        :raises RepositoryError: if a git repository does not answer; it may do so later.
        :raises RejectedError: if there is an image of these inputs that was rejected.
        :raises ImageError: if an image is missing or may not be deployed.
        """
        if ami_id:
            decisions = self._of_image(ami_id, deploy_rejected=deploy_rejected)
        else:
            decisions = self._of_inputs(rebuild, application_ref, deploy_rejected=deploy_rejected)
        for decision in decisions.layers:
            self._say(decision.sentence())
        return decisions

    def bake(
        self,
        layer: str,
        parent: str,
        *,
        commit: str | None,
        sources: Mapping[str, str] | None = None,
        from_number: int = 0,
        credentials: Mapping[str, str],
        vault_password: str,
    ) -> Baked:
        """Bake one layer, or take the image that somebody made or makes of the same inputs meanwhile.

        :param parent: image id to build from; for ``base`` the source AMI.
        :param commit: the application's commit, as decided; counts for the application layer only.
        :param sources: commits of the roles and collections from git repositories, as decided.
        :param from_number: the decision's, so that a forced rebuild does not find the image it replaces.
        :param credentials: ``AWS_*`` variables for Packer.
        :param vault_password: opens the Ansible Vault.
        :raises BakeError: if Packer or Ansible failed.
        :raises BakeHeldUpError: if AWS refused Packer for now; what was made is removed, as after a failure.
        :raises ToolInterruptedError: after :meth:`interrupt`.
        """
        with self._prepared(sources or {}):
            return self._bake(layer, parent, commit, from_number, credentials, vault_password)

    def _bake(  # noqa: PLR0917 - the decision, and what it takes to carry it out
        self,
        layer: str,
        parent: str,
        commit: str | None,
        from_number: int,
        credentials: Mapping[str, str],
        vault_password: str,
    ) -> Baked:
        document = self._document(layer, parent, commit)
        turn = self._turns.of(layer, document.fingerprint)
        while (held := turn.take()) is not None:
            usable = self._look(document, from_number).usable
            if usable and turn.of_another(held):
                return self._adopted(document, usable)
            turn.tell(held)
            self._pause(self._place.poll_seconds)
        with turn.held(lost=self._tool.interrupt):
            found = self._look(document, from_number)
            baked = self._being_made(document, found)
            if baked is None:
                turn.clean()
                number = max(found.next_number, from_number)
                baked = self._baked(
                    turn,
                    document,
                    number,
                    from_number,
                    credentials=credentials,
                    vault_password=vault_password,
                )
            turn.clean()
        return baked

    def tidy(self) -> None:
        """Remove what bakes that were killed left in the account, as far as they are known to be dead."""
        self._turns.tidy()

    def interrupt(self) -> None:
        """Stop a running bake in order; safe to call from a signal handler."""
        self._git.interrupt()
        self._tool.interrupt()

    def _of_inputs(
        self, rebuild: Rebuild, application_ref: str | None, *, deploy_rejected: bool
    ) -> Decisions:
        application = self._environment.application
        source = self._environment.source_ami
        commit = self._git.commit(Source(application.repository, application_ref or application.ref))
        parent = images.source_ami(self._clients.ec2, source.owners, source.name)
        self._say(f"source AMI {parent.id} ({parent.name}), application commit {commit}")
        with self._prepared({}) as sources:
            decided = layers.decide(
                parent.id,
                environment=self._name,
                rebuild=rebuild,
                describe=lambda layer, image_id: self._document(layer, image_id, commit),
                look=self._look,
                previous=self._previous,
                deploy_rejected=deploy_rejected,
            )
        return Decisions(decided, parent.id, commit, sources)

    @contextmanager
    def _prepared(self, decided: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
        """Work on the Packer folder with all that comes from git repositories; gives their commits."""
        with prepared(self._place.packer_dir, self._git, decided, self._say) as ready:
            self._packer_dir, self._inputs = ready.packer_dir, {}
            yield ready.commits

    def _of_image(self, ami_id: str, *, deploy_rejected: bool) -> Decisions:
        image = images.get(self._clients.ec2, ami_id)
        digest = image.tags.get(images.TAG_FINGERPRINT) if image else None
        document = self._recall(APPLICATION, digest) if digest else None
        decision = layers.existing(
            ami_id, image, document, environment=self._name, deploy_rejected=deploy_rejected
        )
        skipped = ("an existing application image is deployed",)
        others = (LayerDecision(layer, False, skipped) for layer in LAYERS if layer != APPLICATION)
        return Decisions((*others, decision), None, None)

    def _document(self, layer: str, parent: str, commit: str | None) -> Document:
        if layer not in self._inputs:
            self._inputs[layer] = trace(self._packer_dir, layer, self._name)
        repository = self._environment.application.repository
        return fingerprint.document(self._inputs[layer], parent, self._versions, repository, commit)

    def _look(self, document: Document, from_number: int = 0) -> Found:
        return images.find(
            self._clients.ec2, document.layer, document.fingerprint, self._name, from_number=from_number
        )

    def _adopted(self, document: Document, image: Image) -> Baked:
        self._say(f"{document.layer}: image {image.id} ({image.name}) was made of the same inputs meanwhile")
        return self._finished(document, image.id, reused=True)

    def _being_made(self, document: Document, found: Found) -> Baked | None:
        """Adopt what nobody but AWS works on: the turn is ours."""
        made = found.usable or found.pending or found.untagged
        if made is None:
            return None
        try:
            return self._adopted(document, made)
        except ImageError as error:
            if made is found.usable:
                raise
            self._say(f"{error}; it is not waited for any longer, a new one is baked")
            return None

    def _baked(
        self,
        turn: Turn,
        document: Document,
        number: int,
        from_number: int,
        *,
        credentials: Mapping[str, str],
        vault_password: str,
    ) -> Baked:
        # Kept before the image exists, so that there is none without its inputs.
        fingerprint.keep(self._clients.s3, self._environment.state_bucket, document)
        name = images.image_name(document.layer, document.fingerprint, number)
        turn.begin(name, tags(document))
        try:
            image_id = self._run(turn, document, name, credentials=credentials, vault_password=vault_password)
        except (BakeError, BakeHeldUpError):
            self._clean_after_failure(turn)
            usable = self._look(document, from_number).usable
            if usable is None:
                raise
            return self._adopted(document, usable)  # somebody with another bucket was quicker
        return self._finished(document, image_id, reused=False)

    def _clean_after_failure(self, turn: Turn) -> None:
        """Remove what Packer, which ended by itself, could not; its own failure is what is reported."""
        try:
            turn.clean()
        except (BakerollError, BotoCoreError, ClientError) as error:
            self._say(f"not all that the bake made is removed, the next run tries again: {error}")

    def _pause(self, seconds: float) -> None:
        """Sleep, unless and until the task is told to stop."""
        while seconds > 0:
            if self._tool.interrupted:
                raise ToolInterruptedError(f"{self._name}: the task was told to stop while it waited")
            self._place.sleep(min(seconds, _LONGEST_SLEEP_SECONDS))
            seconds -= _LONGEST_SLEEP_SECONDS

    def _previous(self, layer: str) -> Document | None:
        """Return the inputs of the layer's newest image that this environment could have used."""
        environment = self._name if layer == APPLICATION else None
        for image in images.newest_of_layer(self._clients.ec2, layer)[:_PREVIOUS_LOOKED_AT]:
            document = self._recall(layer, image.tags[images.TAG_FINGERPRINT])
            if document is not None and document.environment == environment:
                return document
        return None

    def _recall(self, layer: str, digest: str) -> Document | None:
        return fingerprint.recall(self._clients.s3, self._environment.state_bucket, layer, digest)

    def _run(
        self,
        turn: Turn,
        document: Document,
        name: str,
        *,
        credentials: Mapping[str, str],
        vault_password: str,
    ) -> str:
        def hand_over(line: str) -> None:
            self._say(line)
            turn.heard(line)

        self._say(f"baking {name} from {document.parent}")
        order = Order(
            inputs=self._inputs[document.layer],
            image_name=name,
            region=self._environment.region,
            variables=self.variables(document, name, turn.token),
            packer_version=self._versions["Packer"],
            application=self._application(document),
        )
        return run_packer(
            order,
            packer_dir=self._packer_dir,
            tool=self._tool,
            credentials=credentials,
            vault_password=vault_password,
            say=hand_over,
            worker_env=self._place.worker_env,
            beside=turn.beside(self._environment.region, self._clients.s3.meta.endpoint_url),
        )

    def _application(self, document: Document) -> Path | None:
        """Return the application's files, so that the build instance needs no way into its repository."""
        if document.repository is None or document.commit is None:
            return None
        source = Source(document.repository, document.commit)
        return self._git.archive(source, document.commit)

    def variables(self, document: Document, name: str, bake: str) -> dict[str, Any]:
        """Return the values of the template's variables that only a run knows.

        :param name: the image's name.
        :param bake: the bake's token.
        """
        known: dict[str, Any] = {
            "region": self._environment.region,
            "layer": document.layer,
            "source_ami": document.parent,
            "image_name": name,
            "bake": bake,
            "tags": tags(document),
            "custom_endpoint_ec2": self._place.custom_endpoint_ec2,
            "environment": document.environment,
            "application_commit": document.commit,
        }
        return {**self._place.variables, **{key: value for key, value in known.items() if value is not None}}

    def _finished(self, document: Document, image_id: str, *, reused: bool) -> Baked:
        """Wait until an image can be used and see to it that it and its snapshots carry their tags."""
        image = images.wait_until_available(
            self._clients.ec2,
            image_id,
            timeout_seconds=self._place.available_timeout_seconds,
            say=self._say,
            poll_seconds=self._place.poll_seconds,
        )
        wanted = tags(document)
        if lacking := images.untagged_parts(self._clients.ec2, image, wanted):
            # Packer tags after the image is made and may have died between; an image is made only of
            # a finished machine, so its content is whole.
            self._say(f"tagging {', '.join(lacking)}")
            images.tag(self._clients.ec2, image, wanted)
            self._check_tags(image_id, wanted)
        self._say(f"{document.layer} is image {image.id} ({image.name})")
        return Baked(document.layer, image.id, image.name, document.fingerprint, reused)

    def _check_tags(self, image_id: str, wanted: Mapping[str, str]) -> None:
        image: Image | None = images.get(self._clients.ec2, image_id)
        lacking = images.untagged_parts(self._clients.ec2, image, wanted) if image else [image_id]
        if lacking:
            raise ImageError(
                f"{self._name}: {', '.join(lacking)} cannot be tagged; check the role's ec2:CreateTags"
            )

    @cached_property
    def _versions(self) -> dict[str, str]:
        return tool_versions(self._place.worker_env)


def tags(document: Document) -> dict[str, str]:
    """Return the tags of an image and its snapshots."""
    found = {
        images.TAG_LAYER: document.layer,
        images.TAG_FINGERPRINT: document.fingerprint,
        images.TAG_PARENT: document.parent,
    }
    return {**found, images.TAG_COMMIT: document.commit} if document.commit else found
