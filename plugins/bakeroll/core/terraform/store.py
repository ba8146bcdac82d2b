"""Saved plans in the environment's bucket."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bakeroll.core.errors import PlanError
from bakeroll.core.terraform.plans import Plan, PlanLocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ARCHIVE = "plan.tar.gz"
SUMMARY = "summary.json"
ROOT_METADATA = "root"

_NO_KEY_CHARACTERS = re.compile(r"[^A-Za-z0-9._+:-]")


class PlanStore:
    """Keeps a plan together with the very files and provider hashes it was made from.

    Terraform reads files of the modules again when it applies, and refuses other providers than the plan's:
    so both travel with it. The bucket expires what lies below `plans/`.

    :param s3: S3 client.
    :param bucket: the environment's bucket.
    """

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def save(self, plan: Plan, run: str, archive: bytes, root: str) -> PlanLocation:
        """Put a plan and its summary into the bucket, encrypted.

        :param plan: what the plan does, kept beside it for people.
        :param run: name of the deployment.
        :param archive: the packed workspace.
        :param root: the root module's folder in it.
        """
        folder = f"plans/{plan.environment}/{_NO_KEY_CHARACTERS.sub('-', run)}"
        location = PlanLocation(
            bucket=self._bucket, key=f"{folder}/{ARCHIVE}", sha256=hashlib.sha256(archive).hexdigest()
        )
        self._s3.put_object(
            Bucket=self._bucket,
            Key=location.key,
            Body=archive,
            ContentType="application/gzip",
            ServerSideEncryption="AES256",
            Metadata={ROOT_METADATA: root},
        )
        self._s3.put_object(
            Bucket=self._bucket,
            Key=f"{folder}/{SUMMARY}",
            Body=json.dumps(plan.summary(), indent=2).encode(),
            ContentType="application/json",
            ServerSideEncryption="AES256",
        )
        return location

    def load(self, environment: str, location: PlanLocation) -> tuple[bytes, str]:
        """Get a plan back.

        :return: the packed workspace, and the root module's folder in it.
        :raises PlanError: if it is gone, or is not the one that was shown.
        """
        try:
            found = self._s3.get_object(Bucket=location.bucket, Key=location.key)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
                raise
            raise PlanError(
                f"{environment}: the saved plan s3://{location.bucket}/{location.key} is gone, saved plans "
                "expire; start a new deployment"
            ) from error
        archive = found["Body"].read()
        if hashlib.sha256(archive).hexdigest() != location.sha256:
            raise PlanError(
                f"{environment}: s3://{location.bucket}/{location.key} is not the plan that was shown; "
                "start a new deployment"
            )
        return archive, found["Metadata"][ROOT_METADATA]
