"""Where Terraform gets its providers from: a mirror that is set, a usual local place, else the registry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bakeroll.core.errors import ConfigError

MIRROR_SETTING = "BAKEROLL_TERRAFORM_MIRROR"
CACHE_SETTING = "BAKEROLL_CACHE"


def cli_config(environ: Mapping[str, str]) -> str:
    """Write the CLI configuration of one run.

    With a mirror set, what the mirror holds comes from it and from nowhere else; all other providers come
    from their registry. With none set, Terraform looks itself into its implied local mirror directories
    (https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories) and
    then asks the registry, and what it fetched is kept for the next run.

    :param environ: environment variables of this process.
    :return: text of the file that TF_CLI_CONFIG_FILE names.
    :raises ConfigError: if the mirror that is set is none.
    """
    setting = environ.get(MIRROR_SETTING)
    if not setting:
        return f"plugin_cache_dir = {json.dumps(str(plugin_cache(environ)))}\n"
    mirror = Path(setting).absolute()
    providers = json.dumps(_providers(mirror))
    return (
        "provider_installation {\n"
        f"  filesystem_mirror {{\n    path    = {json.dumps(str(mirror))}\n    include = {providers}\n  }}\n"
        f"  direct {{\n    exclude = {providers}\n  }}\n"
        "}\n"
    )


def plugin_cache(environ: Mapping[str, str]) -> Path:
    """Name the folder that keeps providers which came from a registry.

    :param environ: environment variables of this process.
    """
    chosen = environ.get(CACHE_SETTING)
    if chosen:
        return Path(chosen).absolute() / "terraform-providers"
    home = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home).absolute() / "bakeroll" / "terraform-providers"


def _providers(mirror: Path) -> list[str]:
    """Name the providers in a mirror: its folders are `<registry>/<namespace>/<type>`."""
    found = sorted(
        "/".join(folder.relative_to(mirror).parts) for folder in mirror.glob("*/*/*") if folder.is_dir()
    )
    if not found:
        raise ConfigError(
            f"{MIRROR_SETTING} is {mirror}, which holds no provider; name the folder that contains "
            "<registry>/hashicorp/aws, or unset it to use the registry"
        )
    return found
