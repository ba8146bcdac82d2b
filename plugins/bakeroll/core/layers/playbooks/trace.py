"""Follow a playbook to every file it reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from yaml.nodes import Node

from bakeroll.core.errors import InputError
from bakeroll.core.layers.input_files import FileSet
from bakeroll.core.layers.playbooks.collections import Collections
from bakeroll.core.layers.playbooks.galaxy import Galaxy
from bakeroll.core.layers.playbooks.lookups import LOOKUP_KINDS
from bakeroll.core.layers.playbooks.loops import looped
from bakeroll.core.layers.playbooks.nodes import (
    arguments,
    get,
    items,
    line_of,
    pairs,
    short_name,
    text_of,
    texts,
)
from bakeroll.core.layers.playbooks.paths import ExtraInputs, Scope, matching, resolve, templated
from bakeroll.core.layers.playbooks.references import YAML_SUFFIXES, References

_BLOCKS = ("block", "rescue", "always")
_PLAY_TASKS = ("pre_tasks", "tasks", "post_tasks", "handlers")
# What Ansible tries after the name given in `tasks_from` and its like.
_FROM_SUFFIXES = ("", ".yml", ".yaml")


class PlaybookTrace:
    """One walk over a layer's playbook; what it reaches ends in ``files``.

    :param playbook: the layer's playbook.
    :param galaxy: what comes from Galaxy and is identified by ``requirements.yml``.
    :param role_folders: where roles are looked for, besides ``roles/`` beside the playbook.
    :param collections: those that lie among the files.
    """

    def __init__(
        self,
        playbook: Path,
        files: FileSet,
        galaxy: Galaxy,
        role_folders: list[Path],
        collections: Collections,
    ) -> None:
        self._files = files
        self._galaxy = galaxy
        self._collections = collections
        self._playbook = playbook
        self._dir = playbook.parent
        self._role_folders = [self._dir / "roles", *role_folders]
        self._refs = References(playbook, files)
        self._actions: dict[str, Callable[[dict[str, list[str]], Scope, str], None]] = {
            "include_role": self._role_of_task,
            "import_role": self._role_of_task,
            "include_tasks": self._included_tasks,
            "import_tasks": self._included_tasks,
            "include_vars": self._included_vars,
        }

    def run(self) -> None:
        """Follow the layer's playbook.

        :raises InputError: for what is missing or cannot be told, with file and line.
        """
        shown = self._files.relative(self._playbook)
        # All declarations first: a play may need what a later one declares.
        for play in items(self._refs.read(self._playbook)):
            for entry, node in texts(get(get(play, "vars"), ExtraInputs.variable)):
                for path in self._refs.extra.declare(entry, f"{shown}:{line_of(node)}"):
                    self._refs.add(path, f"{shown}:{line_of(node)}")
        self._plays(self._playbook)

    def variables(self, path: Path) -> None:
        """Take in a file of variables: its bytes, and the files that its expressions read."""
        scope = Scope(path, self._dir)
        if path.suffix in (*YAML_SUFFIXES, ""):
            self._refs.expressions(self._refs.read(path), scope)

    def _plays(self, path: Path) -> None:
        if not self._refs.first_time(path, None):
            return
        self._files.add_file(path, self._files.relative(self._playbook) + ":1")
        root = self._refs.read(path)
        scope = Scope(path, path.parent)
        self._refs.expressions(root, scope)
        for play in items(root):
            for key, value in pairs(play):
                place = self._refs.place(scope, value)
                if short_name(key) == "import_playbook":
                    self._imported_playbook(arguments(value), scope, place)
                elif key == "roles":
                    self._role_list(value, scope)
                elif key == "vars_files":
                    self._vars_files(value, scope)
                elif key in _PLAY_TASKS:
                    self._tasks(value, scope)

    def _imported_playbook(self, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        for name in args.get("", []) or args.get("file", []):
            if self._galaxy.provides(name):
                continue
            if collected := self._collections.playbook(name):
                self._plays(collected)
                continue
            beside = replace(scope, playbook_dir=scope.file.parent)
            for path in self._refs.named(name, beside, "", place, "import_playbook"):
                self._plays(path)

    def _vars_files(self, value: Node, scope: Scope) -> None:
        for entry in items(value) or [value]:
            place = self._refs.place(scope, entry)
            choices = [name for name, _ in texts(entry)]
            present = [
                name for name in choices if templated(name) or resolve(scope.fill_in(name), scope, "vars")
            ]
            if not present:
                raise InputError(
                    f"{place}: vars_files: none of {', '.join(choices) or 'nothing'} exists; add one, or "
                    "correct the name"
                )
            for name in present:
                for path in self._refs.named(name, scope, "vars", place, "vars_files"):
                    self._refs.variables(path, scope, place)

    def _role_list(self, value: Node | None, scope: Scope) -> None:
        for entry in items(value):
            name = text_of(entry) or text_of(get(entry, "role", "name", "src"))
            place = self._refs.place(scope, entry)
            if name is None:
                raise InputError(f"{place}: a role without a name; write it as `role: <name>`")
            self._role(name, scope, place)

    def _role_of_task(self, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        for name in args.get("name", []) or args.get("role", []):
            role = self._role(name, scope, place)
            for kind in ("tasks", "vars", "defaults", "handlers"):
                for chosen in args.get(f"{kind}_from", []):
                    if role is not None:
                        inner = Scope(role / kind / "main.yml", self._dir, role)
                        self._refs.named(chosen, inner, kind, place, f"{kind}_from", _FROM_SUFFIXES)

    def _role(self, name: str, scope: Scope, place: str) -> Path | None:
        """Take in a whole role and all it depends on; None if it comes from Galaxy or may be several."""
        name = scope.fill_in(name)
        if templated(name):
            self._templated_role(name, place)
            return None
        if self._galaxy.provides_role(name):
            return None
        if collected := self._collections.role(name):
            self._whole_role(collected, place)
            return collected
        beside_caller = [scope.role.parent] if scope.role else self._collections.roles_around(scope.file)
        for folder in [*self._role_folders, *beside_caller, self._dir]:
            role = Path(folder, name).resolve() if Path(folder, name).is_dir() else None
            if role is not None:
                self._whole_role(role, place)
                return role
        raise InputError(
            f"{place}: role {name} is neither in {self._shown_role_folders()} nor in requirements.yml; add "
            "it to one of them, or correct the name"
        )

    def _templated_role(self, name: str, place: str) -> None:
        folders = {
            parent
            for path in self._refs.extra.files()
            for parent in path.parents
            if parent.parent in self._role_folders
        }
        wanted = [Scope(folder / "-", folder.parent) for folder in folders]
        found = {role.file.parent for role in wanted if matching(name, role, "", [role.file.parent])}
        if not found:
            raise self._refs.untraceable("role", name, place)
        for role in sorted(found):
            self._whole_role(role, place)

    def _whole_role(self, role: Path, place: str) -> None:
        if not self._refs.first_time(role, role):
            return
        self._files.add_tree(role, place)
        for path in sorted(role.rglob("*")):
            if path not in self._files or not path.is_file():
                continue
            part = path.relative_to(role).parts[0]
            scope = Scope(path, self._dir, role)
            if part in ("tasks", "handlers") and path.suffix in YAML_SUFFIXES:
                self._task_file(path, scope)
            elif part in ("vars", "defaults") and path.suffix in (*YAML_SUFFIXES, ""):
                self._refs.expressions(self._refs.read(path), scope)
            elif part == "templates":
                self._refs.template(path, scope)
            elif part == "meta" and path.stem == "main":
                self._role_list(get(self._refs.read(path), "dependencies"), scope)

    def _task_file(self, path: Path, scope: Scope) -> None:
        if not self._refs.first_time(path, scope.role):
            return
        scope = replace(scope, file=path)
        root = self._refs.read(path)
        self._refs.expressions(root, scope)
        self._tasks(root, scope)

    def _tasks(self, value: Node | None, scope: Scope) -> None:
        for task in items(value):
            for key, node in pairs(task):
                if key in _BLOCKS:
                    self._tasks(node, scope)
                elif key in ("action", "local_action"):
                    self._action_spelling(node, task, scope)
                elif key.startswith("with_") and key.removeprefix("with_") in LOOKUP_KINDS:
                    self._refs.looped_files(key.removeprefix("with_"), node, scope)
                else:
                    args = looped(arguments(node, get(task, "args")), task, scope)
                    self._module(short_name(key), args, scope, self._refs.place(scope, node))

    def _action_spelling(self, node: Node, task: Node, scope: Scope) -> None:
        args = looped(arguments(node, get(task, "args")), task, scope)
        words = args.pop("", [])
        module = args.pop("module", words[:1])
        if words[1:]:
            args[""] = words[1:]
        for name in module:
            self._module(short_name(name), args, scope, self._refs.place(scope, node))

    def _module(self, name: str, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        if name in self._actions:
            self._actions[name](args, scope, place)
        else:
            self._refs.module(name, args, scope, place)

    def _included_tasks(self, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        for name in args.get("file", []) or args.get("", []):
            for path in self._refs.named(name, scope, "tasks", place, "include_tasks"):
                self._task_file(path, scope)

    def _included_vars(self, args: dict[str, list[str]], scope: Scope, place: str) -> None:
        for name in args.get("dir", []) or args.get("file", []) or args.get("", []):
            for path in self._refs.named(name, scope, "vars", place, "include_vars"):
                self._refs.variables(path, scope, place)

    def _shown_role_folders(self) -> str:
        return ", ".join(f"{self._files.relative(folder)}/" for folder in self._role_folders)
