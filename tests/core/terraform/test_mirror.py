from __future__ import annotations

from pathlib import Path

import pytest

from bakeroll.core.errors import ConfigError
from bakeroll.core.terraform import mirror


def test_a_mirror_that_is_set_is_the_only_source_of_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "registry.example.org/hashicorp/aws/5.100.0/linux_amd64").mkdir(parents=True)
    assert mirror.cli_config({"BAKEROLL_TERRAFORM_MIRROR": str(tmp_path)}) == (
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f'    path    = "{tmp_path}"\n'
        '    include = ["registry.example.org/hashicorp/aws"]\n'
        "  }\n"
        "  direct {\n"
        '    exclude = ["registry.example.org/hashicorp/aws"]\n'
        "  }\n"
        "}\n"
    )


def test_a_mirror_that_holds_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"BAKEROLL_TERRAFORM_MIRROR is {tmp_path}, which holds no provider"
    ):
        mirror.cli_config({"BAKEROLL_TERRAFORM_MIRROR": str(tmp_path)})


def test_without_one_terraform_looks_itself_and_keeps_what_it_fetched() -> None:
    expected = 'plugin_cache_dir = "/caches/bakeroll/terraform-providers"\n'
    assert mirror.cli_config({"XDG_CACHE_HOME": "/caches"}) == expected
    assert mirror.cli_config({"BAKEROLL_CACHE": "/caches/bakeroll"}) == expected
