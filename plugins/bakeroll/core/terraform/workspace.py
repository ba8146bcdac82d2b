"""A copy of what one Terraform run reads: no two runs share a folder, and none writes to the checkout."""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bakeroll.core.errors import PlanError
from bakeroll.core.private_folder import private_folder

COMMON_VARIABLES = "common.tfvars"
OWN_VARIABLES = "terraform.tfvars"

#: The source of a module in the same repository; Terraform takes only a literal here.
_LOCAL_SOURCE = re.compile(r'^\s*source\s*=\s*"(\.{1,2}/[^"]*)"', re.MULTILINE)
_NOT_COPIED = shutil.ignore_patterns(".terraform", ".git", ".venv", "*.tfstate", "*.tfstate.*", "*.tfplan")


@dataclass(frozen=True)
class Workspace:
    """The folders of one run.

    :param top: everything is below it; it is deleted after the run.
    :param root: the root module, below it.
    """

    top: Path
    root: Path

    @property
    def private(self) -> Path:
        """The folder around it, private to this run, of which nothing is packed."""
        return self.top.parent

    def variable_files(self) -> list[str]:
        """Give the arguments for the variable files, the more specific later, since the last one wins."""
        found = [name for name in (f"../{COMMON_VARIABLES}", OWN_VARIABLES) if (self.root / name).is_file()]
        return [f"-var-file={name}" for name in found]

    def pack(self) -> bytes:
        """Give the workspace as a compressed archive, without what `init` makes anew."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.add(
                self.top,
                arcname=".",
                filter=lambda entry: None if Path(entry.name).name == ".terraform" else entry,
            )
        return buffer.getvalue()


@contextmanager
def copied(root: Path) -> Iterator[Workspace]:
    """Copy a root module, the local modules it reaches and the variables it shares; delete it at the end.

    :param root: the root module's folder in the checkout.
    :raises PlanError: if it is not there, or one of the modules is not.
    """
    root = Path(os.path.normpath(root.absolute()))
    folders = _folders(root)
    common = root.parent / COMMON_VARIABLES
    top = Path(os.path.commonpath([*folders, common] if common.is_file() else folders))
    with _scratch() as scratch:
        for folder in folders:
            target = scratch / folder.relative_to(top)
            shutil.copytree(folder, target, ignore=_NOT_COPIED, dirs_exist_ok=True)
        if common.is_file():
            shutil.copyfile(common, scratch / common.relative_to(top))
        yield Workspace(top=scratch, root=scratch / root.relative_to(top))


@contextmanager
def unpacked(archive: bytes, root: str) -> Iterator[Workspace]:
    """Unpack an archive that :meth:`Workspace.pack` made; delete it at the end.

    :param root: the root module's folder in it.
    """
    with _scratch() as scratch:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            opened.extractall(scratch, filter="data")
        yield Workspace(top=scratch, root=scratch / root)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Make a private folder for one run, as a plan may hold secrets.

    It is one below :func:`private_folder`'s own: only what is Terraform's is packed.
    """
    with private_folder("terraform") as folder:
        scratch = folder.resolve() / "run"
        scratch.mkdir(mode=0o700)
        yield scratch


def _folders(root: Path) -> list[Path]:
    """Find the root module's folder and those of all local modules it reaches."""
    found: list[Path] = []
    waiting = [(root, root)]
    while waiting:
        folder, user = waiting.pop()
        if folder in found:
            continue
        files = sorted(folder.glob("*.tf"))
        if not files:
            raise PlanError(
                f"{folder} is no Terraform module: it holds no .tf file (needed by {user}); correct that "
                "address, or terraform.root in the environment file"
            )
        found.append(folder)
        for file in files:
            sources = _LOCAL_SOURCE.findall(file.read_text(encoding="utf-8"))
            waiting.extend((Path(os.path.normpath(folder / source)), file) for source in sources)
    return found
