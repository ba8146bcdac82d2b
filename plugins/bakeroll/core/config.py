"""Environment files: what one environment is, checked key by key."""

from __future__ import annotations

import re
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import yaml
from croniter import croniter
from pydantic import AfterValidator, Field, ValidationError

from bakeroll.core import config_faults
from bakeroll.core.config_types import Duration, Matching, Text
from bakeroll.core.config_types import Model as _Model
from bakeroll.core.config_waves import PauseAfter, Waves
from bakeroll.core.errors import ConfigError
from bakeroll.core.gate_settings import Gate

FLEET_NAME = Matching(
    r"^[a-z][a-z0-9_]{0,30}$",
    "a name of small letters, digits and _, a letter first, 31 at most, such as web",
)
GIT_HOST = Matching(
    r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$",
    "the name of a git host without https://, such as git.example.com or git.example.com:8443",
)
VPC = Matching(r"^vpc-[0-9a-f]+$", "the id of a VPC, such as vpc-0a1b2c3d4e5f67890")
SUBNET = Matching(r"^subnet-[0-9a-f]+$", "the id of a subnet, such as subnet-0a1b2c3d4e5f67890")
UNIT = Matching(
    r"^[A-Za-z0-9@_.:-]+\.[a-z]+$", "the name of a systemd unit with its ending, such as web.service"
)
REGION = Matching(r"^[a-z]{2}(-[a-z]+)+-[0-9]$", "the name of an AWS region, such as ap-northeast-1")
ACCOUNT = Matching(r"^[0-9]{12}$", 'twelve digits in quotes, such as "123456789012"')
BUCKET = Matching(
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
    "the name of an S3 bucket, 3 to 63 small letters, digits, dots and hyphens, such as example-bakeroll",
)
ENVIRONMENT_NAME = r"^[a-z]([a-z0-9_]{0,30}[a-z0-9])?$"
RESERVED = r"^(aws|amazon|amzn|internal_|sg_|sg$)"
"""Beginnings that AWS refuses in names of load balancers, security groups or SSM documents."""
TAKEN = ("access", "network")
"""Terraform's states that are no environment's lie in folders of these names."""


def _cron(value: str) -> str:
    if not croniter.is_valid(value) or len(value.split()) != 5:
        raise ValueError('expected a cron expression of five fields, such as "0 3 * * 1-5", or null')
    return value


def _network(value: str) -> str:
    try:
        network = ip_network(value)
    except ValueError as error:
        raise ValueError("expected a network such as 10.0.0.0/16") from error
    if network.prefixlen == 0:
        raise ValueError("expected a network, not everybody")
    return value


class SourceAmi(_Model):
    """Which public image the base layer is built from: the newest that matches."""

    owners: list[Text] = Field(min_length=1, description="AWS account ids or aliases that own the image.")
    name: Text = Field(description="Name of the image; * and ? stand for other characters.")


class Application(_Model):
    """Where the application's source is."""

    repository: Text = Field(description="Address of the git repository.")
    ref: Text = Field(default="main", description="Branch, tag or commit that is deployed.")


class Git(_Model):
    """Who opens private git repositories: the application's, roles', collections' and Terraform modules'."""

    connections: dict[Annotated[str, GIT_HOST], Text] = Field(
        default_factory=dict,
        description="Airflow connections by git host, as `git.example.com: git_example`; the host with "
        "`:port` where addresses name one. See docs/repositories.md.",
    )


class Build(_Model):
    """Where Packer runs its temporary instances; what is left out is as in packer/variables."""

    vpc_id: Annotated[str, VPC] | None = Field(
        default=None, description="VPC of build instances; null: the account's default VPC."
    )
    subnet_id: Annotated[str, SUBNET] | None = Field(
        default=None, description="Subnet of build instances; it needs a way out to the package archives."
    )
    ssh_interface: Literal["private_ip", "public_ip"] | None = Field(
        default=None, description="Address by which Packer and Ansible reach them; null: `private_ip`."
    )
    ssh_source_cidrs: list[Annotated[str, AfterValidator(_network)]] | None = Field(
        default=None,
        min_length=1,
        description="Networks that may reach their SSH port; null: the private networks of RFC 1918.",
    )

    def packer_variables(self) -> dict[str, Any]:
        """Return the template's variables that are set here, by the names they have there."""
        named = {
            "vpc_id": self.vpc_id,
            "subnet_id": self.subnet_id,
            "ssh_interface": self.ssh_interface,
            "temporary_security_group_source_cidrs": self.ssh_source_cidrs,
        }
        return {name: value for name, value in named.items() if value is not None}


class Terraform(_Model):
    """Which Terraform root the environment is applied from."""

    root: Text = Field(description="Folder of the root module, relative to the repository.")
    binary: Literal["terraform", "tofu"] = Field(default="terraform", description="The tool that is run.")


class Drain(_Model):
    """How an instance is emptied before it is terminated."""

    timeout: Duration = Field(
        default=timedelta(minutes=5), description="How long the drain script may take on one instance."
    )
    stop_units: list[Annotated[str, UNIT]] = Field(
        default_factory=list,
        description="systemd units that are stopped, in this order, before the log buffers are flushed.",
    )
    on_failure: Literal["retain", "continue"] = Field(
        default="retain",
        description="What becomes of an instance that cannot be drained: `retain` keeps it for a person "
        "(`Terminating:Retained`), `continue` terminates it and records the loss. Terraform's `on_failure` "
        "must say the same. See docs/drains.md.",
    )


class Fleet(_Model):
    """One Auto Scaling group that runs the application image."""

    waves: Waves = Field(
        default=["100%"],
        description="How much of the fleet runs the new image after each wave: numbers of instances, then "
        'percentages of the live target, rising; the last is "100%". See docs/rollouts.md.',
    )
    pause_after: PauseAfter = Field(
        default_factory=list,
        description="Waves, counted from 1, after which a person is asked to go on or abort.",
    )
    capacity_timeout: Duration = Field(
        default=timedelta(minutes=15),
        description="How long new instances may take to be in service and healthy.",
    )
    gate: Gate = Field(default_factory=Gate)
    drain: Drain = Field(default_factory=Drain)


class Environment(_Model):
    """The facts of one environment."""

    region: Annotated[str, REGION] = Field(description="AWS region.")
    account_id: Annotated[str, ACCOUNT] = Field(
        description="AWS account, in quotes; checked against the caller before anything is done."
    )
    state_bucket: Annotated[str, BUCKET] = Field(
        description="S3 bucket of Terraform state, journal, plans, releases, layer inputs and leases; one an "
        "account, so that its environments share bakes."
    )
    aws_conn_id: Text = Field(default="aws_default", description="Airflow connection to AWS.")
    vault_conn_id: Text = Field(
        default="ansible_vault", description="Airflow connection whose password opens the Ansible Vault."
    )
    schedule: Annotated[str, AfterValidator(_cron)] | None = Field(
        default=None, description="Cron expression of scheduled deployments, or null."
    )
    source_ami: SourceAmi
    application: Application
    git: Git = Field(default_factory=Git)
    build: Build = Field(default_factory=Build)
    terraform: Terraform
    fleets: dict[Annotated[str, FLEET_NAME], Fleet] = Field(
        min_length=1, description="The Auto Scaling groups by name, as Terraform's output `fleets` has them."
    )
    approval: bool = Field(
        default=False,
        description="Whether a person approves the plan before it is applied. See docs/runs.md.",
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that refuses a key written twice, of which PyYAML would silently drop one."""


def _mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key_node.start_mark)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is written twice; keep one", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path: Path) -> Environment:
    """Read and check an environment file; the environment's name is the file's stem.

    :param path: the YAML file.
    :raises ConfigError: in one line a fault: file, key, value and what was expected.
    """
    _check_name(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506  derived from SafeLoader
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; give the worker a readable file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.YAMLError as error:
        _refuse_yaml(path, error)
    except (ValueError, TypeError, RecursionError) as error:  # of YAML's own types, such as a 13th month
        raise ConfigError(f"{path}: a value cannot be read: {error}; put it in quotes") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path}: expected keys and values, found {config_faults.shown(content)}; {config_faults.PAGE}"
        )
    try:
        return Environment.model_validate(content)
    except ValidationError as error:
        faults = (config_faults.sentence(Environment, fault) for fault in error.errors(include_url=False))
        raise ConfigError("\n".join(f"{path}: {fault}" for fault in faults)) from None


def _check_name(path: Path) -> None:
    """Refuse a file whose name AWS would refuse as a part of its own names."""
    wrong = not re.fullmatch(ENVIRONMENT_NAME, path.stem) or re.match(RESERVED, path.stem)
    if wrong or path.stem in TAKEN:
        raise ConfigError(
            f"{path}: an environment's name is its file's: expected small letters, digits and _ (at most 32, "
            "a letter first, no _ last, none of aws, amazon, amzn, sg_, internal_ first, not sg, "
            f"{' or '.join(TAKEN)}), found {path.stem!r}; rename it"
        )
    if path.suffix != ".yaml":
        raise ConfigError(f"{path}: expected the ending .yaml; rename the file")


def load_all(folder: Path) -> tuple[dict[str, Environment], dict[Path, ConfigError]]:
    """Read every environment file of a folder, the good and the bad apart.

    :param folder: the folder with ``<name>.yaml`` files.
    :return: the environments by name, and the errors by file.
    """
    environments: dict[str, Environment] = {}
    errors: dict[Path, ConfigError] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            environments[path.stem] = load(path)
        except ConfigError as error:
            errors[path] = error
    return environments, errors


def _refuse_yaml(path: Path, error: yaml.YAMLError) -> NoReturn:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else str(path)
    problem = str(getattr(error, "problem", None) or "not YAML")
    if "'\\t'" in problem:
        raise ConfigError(f"{where}: a tab stands where YAML has spaces; indent with spaces") from None
    raise ConfigError(f"{where}: {' '.join(problem.split())}; {config_faults.PAGE}") from None
