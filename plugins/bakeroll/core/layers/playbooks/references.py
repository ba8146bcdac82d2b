"""Turn a name in a playbook, role or template into the files it stands for, and take those in."""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from pathlib import Path

from yaml.nodes import Node

from bakeroll.core.errors import InputError
from bakeroll.core.layers.input_files import FileSet
from bakeroll.core.layers.playbooks.lookups import LOOKUP_KINDS, Reference, lookups, template_references
from bakeroll.core.layers.playbooks.nodes import all_texts, compose, line_of, texts
from bakeroll.core.layers.playbooks.paths import ExtraInputs, Scope, matching, resolve, templated

YAML_SUFFIXES = (".yml", ".yaml", ".json")
# Modules that read a file of the controller, and the folder kind each searches.
_SOURCES = {
    "copy": "files", "template": "templates", "script": "files", "unarchive": "files",
    "assemble": "files", "ansible.posix.patch": "files", "ansible.posix.synchronize": "files",
}  # fmt: skip
_TRUE = ("yes", "true", "on", "1", "y", "t")


class References:
    """What one walk over a playbook has come upon.

    :param playbook: the layer's playbook, which declares what cannot be traced.
    """

    def __init__(self, playbook: Path, files: FileSet) -> None:
        self.extra = ExtraInputs(playbook.parent)
        self._playbook = playbook
        self._dir = playbook.parent
        self._files = files
        self._done: set[tuple[Path, Path | None]] = set()

    def first_time(self, path: Path, role: Path | None) -> bool:
        """Tell whether a file is met for the first time, in a role or outside; cycles end here."""
        key = (path, role)
        if key in self._done:
            return False
        self._done.add(key)
        return True

    def read(self, path: Path) -> Node | None:
        """Return a YAML file's nodes."""
        return compose(path, self._files.relative(path))

    def place(self, scope: Scope, node: Node) -> str:
        """Return ``file:line`` of a node."""
        return f"{self._files.relative(scope.file)}:{line_of(node)}"

    def add(self, path: Path, place: str) -> None:
        """Take in a file, or a folder with all below it."""
        if path.is_dir():
            self._files.add_tree(path, place)
        else:
            self._files.add_file(path, place)

    def named(  # noqa: PLR0917 - one name and all that is known of it
        self, name: str, scope: Scope, kind: str, place: str, what: str, suffixes: tuple[str, ...] = ("",)
    ) -> list[Path]:
        """Return what a name stands for: one path, or the declared ones that a templated name may mean."""
        filled = scope.fill_in(name)
        if templated(filled):
            declared = matching(filled, scope, kind, self.extra.files())
            if not declared:
                raise self.untraceable(what, name, place)
            return declared
        path = resolve(filled, scope, kind, suffixes)
        if path is not None:
            self.add(path, place)
            return [path]
        declared = [path for path in self.extra.files() if fnmatch.fnmatchcase(str(path), f"*/{filled}")]
        if not declared:
            raise InputError(
                f"{place}: {what}: {name} does not exist in any folder where Ansible looks for it; add it, "
                "or correct the name"
            )
        return declared

    def untraceable(self, what: str, name: str, place: str) -> InputError:
        """Return the refusal of a name that only running the playbook could tell."""
        return InputError(
            f"{place}: {what} {name!r} depends on variables, so the layer's inputs cannot be told; name it "
            f"plainly, or list what it may be under `vars: {ExtraInputs.variable}:` in "
            f"{self._files.relative(self._playbook)}"
        )

    def variables(self, path: Path, scope: Scope, place: str) -> None:
        """Take in a file or folder of variables and what their expressions read."""
        self.add(path, place)
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in (*YAML_SUFFIXES, ""):
                self.expressions(self.read(file), replace(scope, file=file))

    def module(self, module: str, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        """Take in what a module reads on the controller; nothing if it does not or reads the machine."""
        if module not in _SOURCES or _on_the_machine(module, args):
            return
        for name in args.get("src") or args.get("cmd") or args.get("", [])[:1]:
            # `script` takes a whole command line, the rest take a path.
            path = name.split()[0] if module == "script" and name and not templated(name) else name
            if "://" not in path:
                self._source(module, path, scope, place)

    def _source(self, module: str, name: str, scope: Scope, place: str) -> None:
        kind = _SOURCES[module]
        if templated(scope.fill_in(name)) and scope.role:
            # A role's whole tree is an input already; beyond it, whatever the name may stand for beside
            # the playbook is taken in as well.
            beside = [path for path in (self._dir / kind).rglob("*") if path.is_file()]
            for path in matching(scope.fill_in(name), Scope(scope.file, self._dir), kind, beside):
                self.add(path, place)
            return
        for path in self.named(name, scope, kind, place, module):
            self.add(path, place)
            if module == "template" and path.is_file():
                self.template(path, scope)

    def looped_files(self, plugin: str, node: Node, scope: Scope) -> None:
        """Take in what ``with_file`` and its like go through."""
        for name, entry in texts(node):
            reference = Reference(
                None if templated(scope.fill_in(name)) else name,
                LOOKUP_KINDS[plugin],
                name,
                0,
                plugin == "fileglob",
            )
            self.reference(reference, scope, self.place(scope, entry))

    def template(self, path: Path, scope: Scope) -> None:
        """Take in what a template includes and looks up."""
        if not self.first_time(path, path):
            return
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return  # no text, so Jinja cannot read it either
        for reference in template_references(text):
            place = f"{self._files.relative(path)}:{reference.line + 1}"
            self.reference(reference, replace(scope, file=path), place)

    def expressions(self, root: Node | None, scope: Scope) -> None:
        """Take in the files that lookups anywhere below a node read."""
        shown = self._files.relative(scope.file)
        for text, line in all_texts(root):
            for reference in lookups(text):
                self.reference(reference, scope, f"{shown}:{line + reference.line}")

    def reference(self, reference: Reference, scope: Scope, place: str) -> None:
        """Take in the file of one expression."""
        if reference.name is None:
            if not self.extra.paths:
                raise self.untraceable("file", reference.text, place)
        elif reference.glob:
            for folder in scope.folders(reference.kind):
                for path in sorted(folder.glob(reference.name)) if not reference.name.startswith("/") else []:
                    self.add(path, place)
        else:
            for path in self.named(reference.name, scope, reference.kind, place, reference.text):
                self.add(path, place)


def _on_the_machine(module: str, args: dict[str, list[str]]) -> bool:
    # `assemble` alone reads the machine unless told otherwise.
    remote = args.get("remote_src") or ["yes" if module == "assemble" else "no"]
    pulls = args.get("mode") == ["pull"] and module.endswith("synchronize")
    return remote[0].lower() in _TRUE or pulls
