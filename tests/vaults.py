"""What the vaults of packer/ hold, for tests that look for it elsewhere."""

from __future__ import annotations

import secrets
from pathlib import Path

import yaml
from ansible.parsing.vault import VaultLib, VaultSecret


def opened(provisioners: Path, password: str) -> dict[str, str]:
    """Decrypt every vault.

    :return: the values by ``<group>: <variable>``.
    """
    vault = _vault(password)
    return {
        f"{file.parent.name}: {name}": str(value)
        for file in _files(provisioners)
        for name, value in yaml.safe_load(vault.decrypt(file.read_bytes())).items()
    }


def renew(provisioners: Path, password: str, new_password: str) -> dict[str, str]:
    """Give every variable of every vault a value that is nowhere else, under another password.

    :return: the new values by ``<group>: <variable>``.
    """
    old, new = _vault(password), _vault(new_password)
    for file in _files(provisioners):
        names = yaml.safe_load(old.decrypt(file.read_bytes()))
        values = {name: secrets.token_hex(20) for name in names}
        file.write_bytes(new.encrypt(yaml.safe_dump(values).encode()))
    return opened(provisioners, new_password)


def _files(provisioners: Path) -> list[Path]:
    files = sorted(provisioners.glob("group_vars/*/secrets.yml"))
    assert files, f"{provisioners} holds no vault"
    return files


def _vault(password: str) -> VaultLib:
    return VaultLib([("default", VaultSecret(password.encode()))])
