"""The Ansible Vault password, on the disk only while Packer runs."""

from __future__ import annotations

import os
from pathlib import Path


def write_password(folder: Path, password: str) -> Path:
    """Write the password to a file that only this user can read.

    :param folder: a private folder, which goes when the bake ends, however it ends.
    :param password: the vault password; it is written nowhere else.
    :return: the file.
    """
    path = folder / "vault_password"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(password + "\n")
    return path
