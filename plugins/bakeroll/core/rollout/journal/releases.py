"""Releases: what ran where and since when, one S3 object each, never overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bakeroll.core.aws import CONFLICTS, error_code
from bakeroll.core.rollout.journal.records import Journal

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UNDECIDED = frozenset({"ConditionalRequestConflict", "409"})
"""S3's codes where another write was under way: only a further try tells who won
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html)."""


def record(
    s3: S3Client,
    bucket: str,
    journal: Journal,
    facts: Mapping[str, Any],
    *,
    kind: str = "",
    run: str | None = None,
) -> str:
    """Write the release that a journal ends in; one that is there already stays as it is.

    :param bucket: the state bucket.
    :param facts: what is worth keeping, as JSON can hold it.
    :param kind: what else than a release it is; a part of its name.
    :param run: whose work it was, ``<dag id>/<run id>``; None for the journal's owner.
    :return: the object's key.
    """
    opened = datetime.fromtimestamp(journal.opened_at, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    run = run or journal.owner
    name = "".join(one if one.isalnum() or one in "._-" else "-" for one in run)
    key = f"releases/{journal.environment}/{opened}-{name}{kind and '-'}{kind}.json"
    content = {
        "environment": journal.environment,
        "run": run,
        "image_id": journal.image_id,
        "template_before": {name: fleet.template_before for name, fleet in journal.fleets.items()},
        "waves": {name: list(fleet.waves) for name, fleet in journal.fleets.items()},
        "exposure": {
            name: {wave: exposure.model_dump() for wave, exposure in fleet.exposure.items()}
            for name, fleet in journal.fleets.items()
        },
        "retired": {name: list(fleet.went) for name, fleet in journal.fleets.items()},
        **facts,
    }
    while True:
        try:
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=json.dumps(content, indent=2).encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error_code(error) in UNDECIDED:
                continue
            if error_code(error) not in CONFLICTS:
                raise
        return key  # also where it is there already: an earlier try of this task wrote it


def newest(s3: S3Client, bucket: str, environment: str, most: int) -> list[dict[str, Any]]:
    """Return an environment's last releases, the newest first, each with its ``key``.

    :param most: how many at the most.
    """
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"releases/{environment}/")
    keys = sorted(one["Key"] for page in pages for one in page.get("Contents", []))  # by their dates
    found = []
    for key in reversed(keys[-most:]):
        content = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        found.append({**content, "key": key})
    return found
