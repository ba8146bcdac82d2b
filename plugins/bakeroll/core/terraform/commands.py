"""Run Terraform's subcommands in one workspace, one after the other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bakeroll.core.errors import PlanError, RetryableError, ToolInterruptedError
from bakeroll.core.process import Tool
from bakeroll.core.terraform import lock, messages, mirror
from bakeroll.core.terraform.messages import Message

#: Above it an exit status names the signal that ended the tool, as shells have it.
_SIGNALLED = 128

#: How long another run's download of providers is waited for.
CACHE_WAIT_SECONDS = 900

#: Where Terraform leaves a state that it could not write
#: (https://developer.hashicorp.com/terraform/cli/state/recover).
ERRORED_STATE = "errored.tfstate"

#: What Terraform gets of this process's environment; credentials come from the caller, never from here.
PASSED_ON = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CA_BUNDLE",
)


class Commands:
    """The subcommands, run with one set of credentials.

    :param environment: the environment's name, for messages.
    :param binary: `terraform` or `tofu`, a name on PATH or a path.
    :param folder: the root module's folder, a copy.
    :param config_file: where this run's CLI configuration is written; its folder goes with the run.
    :param scratch: the run's private folder, which goes when the tool outlives its task.
    :param aws: AWS_* variables: credentials and, where it is not AWS's own, the endpoint.
    :param tool: runs it, and is what a killed task interrupts.
    :param on_line: gets every line of output for people.
    """

    def __init__(
        self,
        *,
        environment: str,
        binary: str,
        folder: Path,
        config_file: Path,
        scratch: Path,
        aws: Mapping[str, str],
        tool: Tool,
        on_line: Callable[[str], None],
    ) -> None:
        self._environment = environment
        self._binary = binary
        self._folder = folder
        self._scratch = scratch
        self._tool = tool
        self._on_line = on_line
        config_file.write_text(mirror.cli_config(os.environ), encoding="utf-8")
        self._env = {
            **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
            **aws,
            "TF_CLI_CONFIG_FILE": str(config_file),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            # The lock file of a run lives only as long as its plan: the cache may leave other platforms out.
            "TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE": "1",
        }
        self._afterwards: list[list[str]] = []

    def under_lock(self, lock_id: str) -> None:
        """Mark all that is run from now on as running under a lock that we hold.

        What outlives this task brings a state that could not be written home, and gives the lock back.

        :param lock_id: the lock's id.
        """
        self._env[lock.MARKER] = lock_id
        self._afterwards = [
            [self._binary, "state", "push", "-lock=false", ERRORED_STATE],
            [self._binary, "force-unlock", "-force", lock_id],
        ]

    def init(self, backend: Mapping[str, str], git: Mapping[str, str]) -> None:
        """Connect the folder with its state and its providers.

        :param backend: settings of the state backend; none of them is a secret.
        :param git: variables that lead git to what opens the repositories of modules; only `init` needs them.
        :raises PlanError: if that fails.
        :raises RetryableError: if the provider cache stays in use.
        """
        settings = [f"-backend-config={key}={value}" for key, value in backend.items()]
        with _provider_cache():
            # Its -json has colour in it unless that is switched off too.
            before, self._env = self._env, {**self._env, **git}
            try:
                self.say("init", "-json", "-no-color", "-input=false", *settings)
            finally:
                self._env = before

    def say(self, *arguments: str) -> list[Message]:
        """Run a subcommand that speaks -json, and pass on what it says as lines for people.

        :return: its messages.
        :raises LockedError: if somebody else holds the state.
        :raises StalePlanError: if the plan's state is not the present one.
        :raises PlanError: if it failed otherwise.
        """
        said: list[Message] = []
        last_line = ""

        def read(line: str) -> None:
            nonlocal last_line
            message = messages.parse(line)
            if message is not None:
                said.append(message)
            for text in [line] if message is None else messages.for_people(message):
                last_line = text.strip() or last_line
                self._on_line(text)

        if self._run(arguments, read) != 0:
            raise messages.error_of(self._environment, f"{self._binary} {arguments[0]}", said, last_line)
        return said

    def read(self, *arguments: str) -> Any:
        """Run a subcommand that prints one JSON document, and give it back unshown.

        What it says before the document is shown; the document is not, as it may hold secrets.

        :raises PlanError: if it failed.
        """
        lines: list[str] = []
        status = self._run(arguments, lines.append)
        start = next((number for number, line in enumerate(lines) if line.startswith("{")), len(lines))
        for line in lines[:start]:
            self._on_line(line)
        if status == 0 and start < len(lines):
            return json.loads("\n".join(lines[start:]))
        raise PlanError(
            f"{self._environment}: {self._binary} {arguments[0]} gave no answer; see the task's log"
        )

    def show(self, *arguments: str) -> None:
        """Run a subcommand that prints text for people, and pass it on.

        :raises PlanError: if it failed.
        """
        if self._run(arguments, self._on_line) != 0:
            raise PlanError(f"{self._environment}: {self._binary} {arguments[0]} failed; see the task's log")

    def _run(self, arguments: tuple[str, ...], on_line: Callable[[str], None]) -> int:
        try:
            status = self._tool.run(
                [self._binary, *arguments],
                cwd=self._folder,
                env=self._env,
                on_line=on_line,
                scratch=self._scratch,
                afterwards=self._afterwards,
            )
        except FileNotFoundError as error:
            raise PlanError(
                f"{self._environment}: {self._binary} is not on PATH; install it, or set terraform.binary"
            ) from error
        if status > _SIGNALLED or status < 0:
            raise ToolInterruptedError(
                f"{self._environment}: {self._binary} {arguments[0]} was killed by signal "
                f"{-status if status < 0 else status - _SIGNALLED}; this is tried again"
            )
        return status


@contextmanager
def _provider_cache() -> Iterator[None]:
    """Let one `init` at a time use the provider cache, as Terraform has no lock of its own for it."""
    if os.environ.get(mirror.MIRROR_SETTING):
        yield
        return
    cache = mirror.plugin_cache(os.environ)
    cache.mkdir(parents=True, exist_ok=True)
    lock = FileLock(cache / ".lock")
    try:
        lock.acquire(timeout=CACHE_WAIT_SECONDS)
    except Timeout as error:
        raise RetryableError(
            f"the provider cache {cache} was in use by another `init` for {CACHE_WAIT_SECONDS} seconds; "
            "this is tried again"
        ) from error
    try:
        yield
    finally:
        lock.release()
