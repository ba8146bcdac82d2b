"""An environment's AWS account through its Airflow connection."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret
from botocore.config import Config

from bakeroll.core.aws import Clients
from bakeroll.core.config import Environment
from bakeroll.core.errors import ConfigError

RETRIES = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=10, read_timeout=40)
"""Throttling and passing faults are botocore's business; a read that answers nothing for 40 s is tried
again well inside the journal's lease."""


class AccountHook(BaseHook):
    """Gives clients, and credentials for tools, of an environment's account.

    :param environment: the environment.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        self._environment = environment

    def get_conn(self) -> Clients:
        """Return the clients, all of one session."""
        session: Any = self._aws.get_session(region_name=self._environment.region)

        def make(service: str) -> Any:
            return session.client(
                service,
                endpoint_url=self._aws.conn_config.get_service_endpoint_url(service),
                config=RETRIES,
                verify=self._aws.verify,
            )

        return Clients(make)

    @cached_property
    def _aws(self) -> AwsGenericHook[Any]:
        return AwsGenericHook(
            aws_conn_id=self._environment.aws_conn_id,
            region_name=self._environment.region,
            client_type="sts",
            config=RETRIES,
        )

    @property
    def endpoint_url(self) -> str:
        """AWS's address if the connection names one for all services, else empty."""
        return self._aws.conn_config.endpoint_url or ""

    @property
    def ec2_endpoint_url(self) -> str:
        """EC2's address if the connection names one, else empty."""
        return self._aws.conn_config.get_service_endpoint_url("ec2") or ""

    def tool_variables(self) -> dict[str, str]:
        """Return the ``AWS_*`` variables of a tool that acts in the account; logs show ``***`` for secrets.

        :raises ConfigError: if the connection gives no credentials.
        """
        credentials = self._aws.get_credentials(region_name=self._environment.region)
        if not credentials.access_key or not credentials.secret_key:
            raise ConfigError(
                f"connection {self._environment.aws_conn_id} gives no AWS credentials; set them under Admin, "
                "Connections, or give the worker a role"
            )
        mask_secret(credentials.secret_key)
        variables: dict[str, str] = {
            "AWS_ACCESS_KEY_ID": credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
            "AWS_REGION": self._environment.region,
            "AWS_DEFAULT_REGION": self._environment.region,
        }
        if credentials.token:
            mask_secret(credentials.token)
            variables["AWS_SESSION_TOKEN"] = credentials.token
        if self.endpoint_url:
            variables["AWS_ENDPOINT_URL"] = self.endpoint_url
        return variables

    def vault_password(self) -> str:
        """Return the Ansible Vault password; a log that it got into all the same shows ``***``.

        :raises ConfigError: if its connection has none.
        """
        password = BaseHook.get_connection(self._environment.vault_conn_id).password
        if not password:
            raise ConfigError(
                f"connection {self._environment.vault_conn_id} has no password: it is the Ansible Vault "
                "password; set it under Admin, Connections"
            )
        mask_secret(str(password))
        return str(password)
