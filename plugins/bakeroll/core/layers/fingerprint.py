"""A layer's identity: the digest of all that makes it what it is, and what changed between two of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import canonical, error_code
from bakeroll.core.layers.inputs import APPLICATION, LAYERS, Inputs

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Goes into the digest: raised when the meaning of a document changes, so that old ones never match.
_FORMAT = 1
_SHOWN_FILES = 8


@dataclass(frozen=True)
class Document:
    """What a layer's fingerprint is made of.

    :param environment: the application layer's environment, None for the others.
    :param parent: image id that the layer is built from; for ``base`` the source AMI.
    :param files: mode and SHA-256 of each input file, by its path.
    :param versions: of the tools, by name.
    :param repository: where the application comes from; application layer only.
    :param commit: the application's commit; application layer only.
    """

    layer: str
    environment: str | None
    parent: str
    files: Mapping[str, str]
    versions: Mapping[str, str]
    repository: str | None = None
    commit: str | None = None

    def text(self) -> str:
        """Return the canonical JSON that is hashed and kept."""
        return canonical({"format": _FORMAT, **asdict(self)})

    @property
    def fingerprint(self) -> str:
        """The layer's fingerprint, 64 hex digits."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def document(
    inputs: Inputs, parent: str, versions: Mapping[str, str], repository: str | None, commit: str | None
) -> Document:
    """Put together what makes a layer what it is.

    :param parent: image id the layer is built from.
    :param repository: where the application comes from; counts for the application layer only.
    :param commit: the application's commit; counts for the application layer only.
    """
    own = inputs.layer == APPLICATION
    return Document(
        layer=inputs.layer,
        environment=inputs.environment,
        parent=parent,
        files={file.path: f"{file.mode} {file.sha256}" for file in inputs.files},
        versions=dict(versions),
        repository=repository if own else None,
        commit=commit if own else None,
    )


def compare(new: Document, previous: Document | None, *, parent_known: bool = True) -> list[str]:
    """Tell in words why a layer is not the one that was there before.

    :param previous: of the image before, or None if there was none.
    :param parent_known: whether ``new.parent`` exists already; if not, it is left out.
    :return: one reason each; empty if nothing differs.
    """
    if previous is None:
        return ["first build"]
    reasons = _file_reasons(new.files, previous.files)
    if parent_known and new.parent != previous.parent:
        what = "source AMI" if new.layer == LAYERS[0] else "parent image"
        reasons.append(f"{what} changed {previous.parent} -> {new.parent}")
    for tool in sorted({*new.versions, *previous.versions}):
        before, now = previous.versions.get(tool, "none"), new.versions.get(tool, "none")
        if before != now:
            reasons.append(f"{tool} {before} -> {now}")
    if new.repository != previous.repository:
        reasons.append(f"application repository changed {previous.repository} -> {new.repository}")
    if new.commit != previous.commit:
        reasons.append(f"application commit changed {_short(previous.commit)} -> {_short(new.commit)}")
    if new.environment != previous.environment:
        reasons.append(f"environment changed {previous.environment} -> {new.environment}")
    return reasons


def keep(s3: S3Client, bucket: str, kept: Document) -> None:
    """Write a document to the bucket; the same one again changes nothing."""
    s3.put_object(
        Bucket=bucket,
        Key=_key(kept.layer, kept.fingerprint),
        Body=kept.text().encode(),
        ContentType="application/json",
    )


def recall(s3: S3Client, bucket: str, layer: str, fingerprint: str) -> Document | None:
    """Return the document of a fingerprint, or None if it was not kept or is of another format."""
    try:
        body = s3.get_object(Bucket=bucket, Key=_key(layer, fingerprint))["Body"].read()
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404"):
            return None
        raise
    values: dict[str, Any] = json.loads(body)
    return Document(**values) if values.pop("format", None) == _FORMAT else None


def _file_reasons(new: Mapping[str, str], previous: Mapping[str, str]) -> list[str]:
    changed = [path for path in sorted(new) if path in previous and new[path] != previous[path]]
    added = sorted(set(new) - set(previous))
    removed = sorted(set(previous) - set(new))
    named = (("changed", changed), ("added", added), ("removed", removed))
    return [f"files {what}: {_listed(paths)}" for what, paths in named if paths]


def _listed(paths: list[str]) -> str:
    more = len(paths) - _SHOWN_FILES
    return ", ".join(paths[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")


def _short(commit: str | None) -> str:
    return commit[:10] if commit else "none"


def _key(layer: str, fingerprint: str) -> str:
    return f"inputs/{layer}/{fingerprint}.json"
