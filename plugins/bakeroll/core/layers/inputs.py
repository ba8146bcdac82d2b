"""A layer's inputs, found from its playbook rather than listed by hand.

What counts: the layer's playbook and all it reaches (plays, roles with their whole folder, role
dependencies, included and imported files, templates, copied files, literal lookups), the variables of
its groups, the plugins beside the playbook, ``ansible.cfg``, ``requirements.yml``, the Packer template
and its variable files. Of each the path, the executable bit and the bytes count; never dates or order.
"""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path

from bakeroll.core.errors import InputError
from bakeroll.core.layers.input_files import FileSet, InputFile, ignored
from bakeroll.core.layers.playbooks import galaxy
from bakeroll.core.layers.playbooks.collections import Collections
from bakeroll.core.layers.playbooks.trace import PlaybookTrace

APPLICATION = "application"
# Parents first. Each is built from the one before it, `base` from the source AMI.
LAYERS = ("base", "application_base", APPLICATION)

_TEMPLATE = "layer.pkr.hcl"
_PLUGINS = "plugins.pkr.hcl"  # given to Packer 1.7 and later only, but a change of it is a change
_PROVISIONERS = "provisioners"
# Files the template names beside itself, when they are named plainly.
_TEMPLATE_FILE = re.compile(r'"\$\{path\.root\}/([^"$]+)"')
# Ansible loads these folders from beside any playbook. Source: "Adding modules and plugins locally".
_PLUGIN_FOLDER = re.compile(r"^(library|module_utils|[a-z]+_plugins)$")
_GROUP_SUFFIXES = ("", ".yml", ".yaml", ".json")


@dataclass(frozen=True)
class Inputs:
    """All files that make a layer what it is.

    :param environment: only for the application layer, which alone sees an environment's variables.
    """

    layer: str
    environment: str | None
    files: tuple[InputFile, ...]


def variable_files(packer_dir: Path, layer: str) -> tuple[Path, ...]:
    """Return the variable files Packer gets for a layer, in their order."""
    folder = packer_dir / "variables"
    return folder / "common.pkrvars.hcl", folder / f"{layer}.pkrvars.hcl"


def trace(packer_dir: Path, layer: str, environment: str | None) -> Inputs:
    """Find a layer's inputs.

    :param packer_dir: the folder of the Packer template; every input lies below it.
    :param layer: one of :data:`LAYERS`.
    :param environment: needed for the application layer, of no account for the others.
    :raises InputError: for what is missing or cannot be traced, with file and line.
    """
    if layer not in LAYERS:
        raise InputError(f"there is no layer {layer}; name one of {', '.join(LAYERS)}")
    own_environment = environment if layer == APPLICATION else None
    if layer == APPLICATION and not environment:
        raise InputError("the application layer belongs to an environment; name it")
    files = FileSet(packer_dir)
    provisioners = files.root / _PROVISIONERS
    _add_template(files, layer)
    playbook = provisioners / f"{layer}.yml"
    # The playbook is what the template hands to Ansible for this layer.
    files.add_file(playbook, f"layer {layer}")
    requirements = provisioners / "requirements.yml"
    for optional in (requirements, provisioners / "ansible.cfg"):
        if optional.is_file():
            files.add_file(optional, f"layer {layer}")
    from_galaxy = galaxy.read(requirements, f"{_PROVISIONERS}/requirements.yml")
    collections = Collections(
        [provisioners / "collections", *_configured_folders(provisioners, "collections_path")]
    )
    walk = PlaybookTrace(
        playbook, files, from_galaxy, _configured_folders(provisioners, "roles_path"), collections
    )
    for folder in [*_plugin_folders(provisioners), *_configured_plugins(provisioners)]:
        files.add_tree(folder, f"layer {layer}")
    walk.run()
    for path in _group_variables(
        provisioners, ["all", layer, *([own_environment] if own_environment else [])]
    ):
        files.add_file(path, f"layer {layer}")
        walk.variables(path)
    collections.add_mentioned(files, f"layer {layer}")
    return Inputs(layer, own_environment, files.files())


def _add_template(files: FileSet, layer: str) -> None:
    template = files.root / _TEMPLATE
    for path in (template, *variable_files(files.root, layer)):
        files.add_file(path, f"layer {layer}")
    if (files.root / _PLUGINS).is_file():
        files.add_file(files.root / _PLUGINS, f"layer {layer}")
    for name in _TEMPLATE_FILE.findall(template.read_text(encoding="utf-8")):
        if (files.root / name).is_file():
            files.add_file(files.root / name, _TEMPLATE)


def _group_variables(provisioners: Path, groups: list[str]) -> list[Path]:
    found: list[Path] = []
    for group in groups:
        for suffix in _GROUP_SUFFIXES:
            path = provisioners / "group_vars" / f"{group}{suffix}"
            if path.is_dir():
                found += [
                    file for file in sorted(path.rglob("*")) if file.is_file() and not _left_over(file, path)
                ]
            elif path.is_file():
                found.append(path)
    return found


def _left_over(file: Path, folder: Path) -> bool:
    return any(ignored(part) for part in file.relative_to(folder).parts)


def _plugin_folders(provisioners: Path) -> list[Path]:
    return [
        path for path in sorted(provisioners.iterdir()) if path.is_dir() and _PLUGIN_FOLDER.match(path.name)
    ]


def _configured_plugins(provisioners: Path) -> list[Path]:
    return [
        folder
        for key in _settings(provisioners)
        if _PLUGIN_FOLDER.match(key)
        for folder in _configured_folders(provisioners, key)
    ]


def _configured_folders(provisioners: Path, key: str) -> list[Path]:
    """Return the folders an ``ansible.cfg`` setting lists, as far as they lie beside it."""
    listed = [entry.strip() for entry in _settings(provisioners).get(key, "").split(":")]
    folders = [Path(provisioners, entry).resolve() for entry in listed if entry]
    return [folder for folder in folders if folder.is_dir() and folder.is_relative_to(provisioners)]


def _settings(provisioners: Path) -> dict[str, str]:
    path = provisioners / "ansible.cfg"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except configparser.Error as error:
        raise InputError(f"{_PROVISIONERS}/ansible.cfg: {error.message}; correct it") from error
    return dict(parser["defaults"]) if parser.has_section("defaults") else {}
