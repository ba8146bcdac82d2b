"""A private copy of exactly a layer's inputs, for Packer to work in.

What is not an input is not there. So an image is made of nothing but what its fingerprint tells, files
changed during a bake change nothing, and a file that could not be traced fails the bake rather than
getting into an image unseen.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bakeroll.core.errors import InputError
from bakeroll.core.layers.inputs import Inputs


def stage(inputs: Inputs, packer_dir: Path, target: Path) -> None:
    """Copy a layer's inputs.

    :param target: an empty folder.
    :raises InputError: if a file changed after it was traced.
    """
    for file in inputs.files:
        source, copy = packer_dir / file.path, target / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = os.readlink(source).encode() if file.mode == "link" else source.read_bytes()  # noqa: PTH115
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise InputError(f"{file.path} changed while layer {inputs.layer} was being prepared; run again")
        if file.mode == "link":
            copy.symlink_to(content.decode())
        else:
            copy.write_bytes(content)
            copy.chmod(int(file.mode, 8))
