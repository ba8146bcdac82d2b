"""Where the secrets of a deployment that runs through the demo's Airflow may be, and where they are.

Use: ``with SecretsWatch(demo_secrets()) as watch: …`` around the deployment, then
``watch.sightings(*allowed())`` and ``written(settings, secrets)``; both must be empty.
"""

from __future__ import annotations

from typing import Any

import boto3

from demo.settings import ACCESS_KEY, REGION, ROOT, VAULT_PASSWORD, Settings, environment
from tests import vaults
from tests.secrets_watch import ENVIRONMENT, Allowed, Secrets, Sighting
from tests.secrets_written import in_account, in_bucket, in_database, in_folder


def demo_secrets() -> Secrets:
    """Give the vault password and all that the repository's vaults hold."""
    values = vaults.opened(ROOT / "packer" / "provisioners", VAULT_PASSWORD)
    return Secrets({"vault password": VAULT_PASSWORD, **values})


def allowed() -> list[Allowed]:
    """Tell where processes may show them.

    The demo gives Airflow its connections in its environment, which all of Airflow's own processes have and
    no tool does; the application's own units are given the application's secrets.
    """
    connection = "AIRFLOW_CONN_ANSIBLE_VAULT"
    airflow = [
        Allowed("vault password", ENVIRONMENT, program, connection)
        for program in ("airflow*", "from multiprocessing*", "*celeryd: *", "file")
    ]
    units = [
        Allowed(secret, ENVIRONMENT, "*", variable)
        for secret, variable in (
            ("development: vault_application_session_secret", "WEB_SESSION_SECRET"),
            ("staging: vault_application_session_secret", "WEB_SESSION_SECRET"),
            ("application: vault_application_metrics_token", "WEB_METRICS_TOKEN"),
            ("application_base: vault_application_base_forwarder_shared_key", "FLUENTD_SHARED_KEY"),
        )
    ]
    return [*airflow, *units]


def written(settings: Settings, secrets: Secrets) -> list[Sighting]:
    """Look through Airflow's home (logs, database) and the services' logs, the bucket and the account.

    :param settings: of a demo whose account still runs.
    """
    return sorted(
        [
            *in_folder(secrets, settings.airflow_home, settings.logs),
            *in_database(secrets, settings.airflow_home / "airflow.db"),
            *in_bucket(secrets, _client(settings)("s3"), environment().state_bucket),
            *in_account(secrets, _client(settings)),
        ]
    )


def _client(settings: Settings) -> Any:
    session = boto3.session.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=ACCESS_KEY, region_name=REGION
    )

    def make(service: str) -> Any:
        made: Any = session.client
        return made(service, endpoint_url=settings.endpoint_url)

    return make
