"""What fleets an environment has, kept in the bucket from one deployment to the next.

Terraform's output is where it comes from; a run that holds the journal writes it down. So it can be read
every few minutes, without Terraform, and after the journal is closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import ClientError
from pydantic import BaseModel, ConfigDict

from bakeroll.core import config
from bakeroll.core.aws import MISSING, error_code
from bakeroll.core.terraform import FleetOutput

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KnownFleet(_Record):
    """One fleet, and how its instances are emptied.

    :ivar drain_timeout: how long the drain script may take.
    :ivar on_failure: what becomes of an instance that cannot be emptied.
    """

    group: str
    termination_hook: str
    drain_document: str
    drain_timeout: timedelta
    stop_units: tuple[str, ...]
    on_failure: Literal["retain", "continue"] = "retain"

    def with_settings(self, drain: config.Drain) -> KnownFleet:
        """Return the fleet with what an environment file says of its drain."""
        return self.model_copy(
            update={
                "drain_timeout": drain.timeout,
                "stop_units": tuple(drain.stop_units),
                "on_failure": drain.on_failure,
            }
        )


class _Document(_Record):
    version: int = 1
    environment: str
    fleets: dict[str, KnownFleet]


def recall(s3: S3Client, bucket: str, environment: str) -> dict[str, KnownFleet]:
    """Return the fleets by name as the last deployment left them; none if there was no deployment.

    :param bucket: the state bucket.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=_key(environment))
    except ClientError as error:
        if error_code(error) in MISSING:
            return {}
        raise
    return _Document.model_validate_json(answer["Body"].read()).fleets


def remember(
    s3: S3Client,
    bucket: str,
    environment: str,
    outputs: Mapping[str, FleetOutput],
    settings: Mapping[str, config.Fleet],
) -> None:
    """Write down the fleets that Terraform made. The caller holds the journal.

    A fleet that has left the environment file, but is not destroyed yet, keeps its settings: its last
    instances are emptied as before.

    :param bucket: the state bucket.
    :param outputs: the fleets.
    :param settings: the environment file's fleets.
    """
    known = recall(s3, bucket, environment)
    fleets = {name: _fleet(output, settings.get(name), known.get(name)) for name, output in outputs.items()}
    document = _Document(environment=environment, fleets=fleets)
    s3.put_object(
        Bucket=bucket,
        Key=_key(environment),
        Body=document.model_dump_json(indent=2).encode(),
        ContentType="application/json",
    )


def _fleet(output: FleetOutput, settings: config.Fleet | None, known: KnownFleet | None) -> KnownFleet:
    usual = config.Drain()
    fleet = KnownFleet(
        group=output.autoscaling_group,
        termination_hook=output.termination_hook,
        drain_document=output.drain_document,
        drain_timeout=known.drain_timeout if known else usual.timeout,
        stop_units=known.stop_units if known else tuple(usual.stop_units),
        on_failure=known.on_failure if known else usual.on_failure,
    )
    return fleet.with_settings(settings.drain) if settings else fleet


def _key(environment: str) -> str:
    return f"fleets/{environment}.json"
