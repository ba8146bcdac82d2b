"""One run of Packer: a layer's inputs in, an image id out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeroll.core.errors import BakeError, BakeHeldUpError, ToolInterruptedError
from bakeroll.core.layers.inputs import Inputs, variable_files
from bakeroll.core.layers.packer_output import Transcript, image_of_manifest
from bakeroll.core.layers.staging import stage
from bakeroll.core.layers.vault import write_password
from bakeroll.core.layers.versions import at_least
from bakeroll.core.private_folder import private_folder
from bakeroll.core.process import Tool

# What the tools may see of the worker's environment; credentials are handed over by name.
_PASSED_ON = (
    "PATH",
    "HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PACKER_PLUGIN_PATH",
    "PACKER_CONFIG_DIR",
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
# As shells tell it: 128 and the signal's number.
_KILLED = 128
_QUIET = {
    "CHECKPOINT_DISABLE": "1",
    "PACKER_NO_COLOR": "1",
    "ANSIBLE_NOCOLOR": "1",
    # Lines come as they are said, not when a buffer is full.
    "PYTHONUNBUFFERED": "1",
    # Ansible refuses to start in a locale that is not UTF-8.
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True)
class Order:
    """What Packer is to make.

    :param variables: values for the template's variables, besides those :func:`run_packer` adds itself.
    :param packer_version: as the fingerprint has it.
    :param application: archive of the application's files; None for the other layers.
    """

    inputs: Inputs
    image_name: str
    region: str
    variables: Mapping[str, Any]
    packer_version: str
    application: Path | None = None


def run_packer(
    order: Order,
    *,
    packer_dir: Path,
    tool: Tool,
    credentials: Mapping[str, str],
    vault_password: str,
    say: Callable[[str], object],
    worker_env: Mapping[str, str] | None = None,
    beside: Sequence[str] = (),
) -> str:
    """Run Packer to its end and return the id of the image it made.

    Everything it works with lies in a private folder that is removed whatever happens.

    :param tool: runs Packer; interrupting it makes Packer remove its temporary instance, key and
        security group.
    :param credentials: ``AWS_*`` variables.
    :param vault_password: written to a private file while Packer runs, and nowhere else.
    :param say: gets each line of output.
    :param beside: runs Packer and keeps its lease meanwhile; empty: there is none.
    :raises BakeError: if Packer or Ansible failed, with the line that says why.
    :raises BakeHeldUpError: if Packer failed of an answer of AWS's that passes.
    :raises ToolInterruptedError: if the tool was interrupted, or killed by somebody.
    """
    with private_folder("bake") as work:
        staged, temporary = work / "packer", work / "tmp"
        staged.mkdir()
        temporary.mkdir()
        env = {
            **tool_environment(os.environ if worker_env is None else worker_env, credentials),
            # Packer's Ansible provisioner leaves the key of the build instance in its temporary folder.
            "TMPDIR": str(temporary),
            # Rendered templates, with the secrets in them, stay in Ansible's own folder if it is killed. And
            # plugins that lie in the worker's home are no inputs of a layer.
            "ANSIBLE_HOME": str(work / "ansible"),
            # Nor are collections installed beside Ansible: a layer's are in requirements.yml.
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "False",
            # The template names it for playbooks only, and Packer asks Ansible for its version before.
            "ANSIBLE_CONFIG": str(staged / "provisioners" / "ansible.cfg"),
        }
        stage(order.inputs, packer_dir, staged)
        # Where it is not there, Ansible takes the worker's own; an empty one settles nothing.
        Path(env["ANSIBLE_CONFIG"]).touch()
        manifest = work / "manifest.json"
        password = write_password(work, vault_password)
        values = {**order.variables, "manifest": str(manifest), "vault_password_file": str(password)}
        if order.application is not None:
            # A copy: the cache may be swept while Packer runs.
            values["application_archive"] = str(shutil.copy(order.application, work / "application.tar.gz"))
        value_file = work / "values.pkrvars.json"
        value_file.write_text(json.dumps(values), encoding="utf-8")
        transcript = Transcript()

        def hand_over(line: str) -> None:
            if text := transcript.readable(line):
                say(text)

        for argv in commands(order, value_file):
            status = _run(tool, argv, cwd=staged, env=env, on_line=hand_over, work=work, beside=beside)
            if status < 0 or status > _KILLED:
                signal = -status if status < 0 else status - _KILLED
                raise ToolInterruptedError(
                    f"{order.image_name}: {argv[0]} {argv[1]} was killed by signal {signal}; what it left "
                    "in the account is removed on the next try"
                )
            if status != 0:
                failed = (
                    f"{order.image_name}: {argv[0]} {argv[1]} failed with status {status}: "
                    f"{transcript.failure().rstrip('. ')}"
                )
                if transcript.passing:
                    raise BakeHeldUpError(f"{failed}; AWS may do it a little later: the bake is tried again")
                raise BakeError(f"{failed}; see the output above")
        return image_of_manifest(manifest, order.region)


def commands(order: Order, value_file: Path) -> list[list[str]]:
    """Return the command lines, run in the folder of the staged inputs.

    Packer before 1.7 knows no ``packer init`` and cannot read ``plugins.pkr.hcl``.
    """
    own = [str(path) for path in variable_files(Path(), order.inputs.layer)]
    options = ["-color=false", *(f"-var-file={path}" for path in [*own, str(value_file)])]
    if at_least(order.packer_version, 1, 7):
        return [["packer", "init", "."], ["packer", "build", *options, "."]]
    return [["packer", "build", *options, "layer.pkr.hcl"]]


def tool_environment(worker_env: Mapping[str, str], credentials: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of the tools: what they need, and nothing else of the worker's."""
    names = [*_PASSED_ON, *_PROXIES, *(name.lower() for name in _PROXIES)]
    passed = {name: worker_env[name] for name in names if name in worker_env}
    return {**passed, **credentials, **_QUIET}


def _run(
    tool: Tool,
    argv: list[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_line: Callable[[str], None],
    work: Path,
    beside: Sequence[str],
) -> int:
    try:
        return tool.run(argv, cwd=cwd, env=env, on_line=on_line, scratch=work, beside=beside)
    except FileNotFoundError as error:
        raise BakeError(
            f"{argv[0]} is not found; install it where PATH of the Airflow worker has it"
        ) from error
