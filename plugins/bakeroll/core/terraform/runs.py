"""Plan, apply, and read outputs of one environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bakeroll.core.errors import FinalError, PlanError, StalePlanError
from bakeroll.core.git import Access, credentials
from bakeroll.core.process import Tool
from bakeroll.core.terraform import outputs, plans, renewal, workspace
from bakeroll.core.terraform.commands import ERRORED_STATE, Commands
from bakeroll.core.terraform.lock import StateLock
from bakeroll.core.terraform.plans import Plan, PlanLocation
from bakeroll.core.terraform.store import PlanStore
from bakeroll.core.terraform.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SAVED_PLAN = "saved.tfplan"
RENEWED_PLAN = "renewed.tfplan"
CLI_CONFIG = "bakeroll.tfrc"

Value = str | int | float | bool | Mapping[str, Any] | list[Any]


@dataclass(frozen=True)
class State:
    """Where the state is.

    :param bucket: S3 bucket of the state and the saved plans.
    :param key: object of the state.
    :param region: the bucket's region.
    """

    bucket: str
    key: str
    region: str

    @classmethod
    def of_environment(cls, environment: str, bucket: str, region: str) -> State:
        """Give the place of an environment's state."""
        return cls(bucket=bucket, key=f"terraform/{environment}/terraform.tfstate", region=region)


class Terraform:
    """Terraform for one environment; each method works in a copy of its own of the files.

    :param environment: the environment's name.
    :param root: folder of the root module in the checkout.
    :param state: where the state is.
    :param s3: S3 client for the saved plans.
    :param aws: AWS_* variables for Terraform: credentials and, where it is not AWS's own, AWS_ENDPOINT_URL.
    :param on_line: gets each line for people; none of them shows a sensitive value.
    :param binary: `terraform` or `tofu`.
    :param git: what opens private git repositories that modules come from.
    :param tool: runs it; a killed task calls its `interrupt`, and Terraform then releases the lock.
    :param run: the run that acts, named in the state's lock.
    :param lock_timeout_seconds: how long to wait for a state that somebody else has locked.
    """

    def __init__(
        self,
        *,
        environment: str,
        root: Path,
        state: State,
        s3: S3Client,
        aws: Mapping[str, str],
        on_line: Callable[[str], None],
        binary: str = "terraform",
        git: Sequence[Access] = (),
        tool: Tool | None = None,
        run: str = "bakeroll",
        lock_timeout_seconds: int = 0,
    ) -> None:
        self._environment = environment
        self._root = root
        self._state = state
        self._store = PlanStore(s3, state.bucket)
        self._aws = dict(aws)
        self._on_line = on_line
        self._binary = binary
        self._git = tuple(git)
        self._tool = tool or Tool()
        self._lock_timeout = f"-lock-timeout={lock_timeout_seconds}s"
        self._lock = StateLock(
            s3,
            state.bucket,
            state.key,
            environment=environment,
            run=run,
            say=on_line,
            wait_seconds=lock_timeout_seconds,
        )

    def plan(self, run: str, variables: Mapping[str, Value], *, allow_destroy: bool = False) -> Plan:
        """Make a plan, show it, and save it if it changes anything.

        :param run: name of the deployment; the plan is saved under it.
        :param variables: values of variables, over those of the variable files; never secrets, as every
            user of the machine can read an argument list.
        :param allow_destroy: whether the plan may destroy or replace what serves.
        :raises LockedError: if somebody else holds the state.
        :raises PlanError: if Terraform refused, or the plan does what this run may not do.
        :raises ToolInterruptedError: if the task was killed.
        """
        with workspace.copied(self._root) as copy:
            commands = self._initialised(copy)
            with self._locked(commands, copy, "Plan") as locking:
                document = self._planned(commands, copy, variables, SAVED_PLAN, locking)
            plan = plans.from_document(self._environment, document)
            if plan.has_changes:
                commands.show("show", "-no-color", SAVED_PLAN)
            self._tell(plan)
            self._check(plan, allow_destroy)
            if not plan.has_changes:
                return plan
            root = str(copy.root.relative_to(copy.top))
            return replace(plan, location=self._store.save(plan, run, copy.pack(), root))

    def apply(self, location: PlanLocation, variables: Mapping[str, Value] | None = None) -> dict[str, Any]:
        """Apply that very plan; if it went stale, what is left of it.

        An apply that was cut off leaves its plan stale. Then a new one is made of the same files, and applied
        if it does nothing that was not shown.

        :param location: where :meth:`plan` saved it.
        :param variables: values of variables for a new plan; None: a stale plan is refused.
        :return: the outputs, without sensitive ones.
        :raises StalePlanError: if the state was changed meanwhile, and a new plan would do more.
        :raises LockedError: if somebody else holds the state.
        :raises PlanError: if Terraform failed.
        :raises ToolInterruptedError: if the task was killed; what was done by then is in the state.
        """
        archive, root = self._store.load(self._environment, location)
        with workspace.unpacked(archive, root) as copy:
            commands = self._initialised(copy)
            with self._locked(commands, copy, "Apply") as locking:
                try:
                    return self._applied(commands, copy, SAVED_PLAN, locking)
                except StalePlanError:
                    if variables is None:
                        raise
                self._renew(commands, copy, variables, locking)
                return self._applied(commands, copy, RENEWED_PLAN, locking)

    def _planned(
        self, commands: Commands, copy: Workspace, variables: Mapping[str, Value], file: str, locking: str
    ) -> dict[str, Any]:
        """Make a plan and give it as a document, which may hold secrets."""
        commands.say(
            *("plan", "-json", "-input=false", locking, f"-out={file}"),
            *copy.variable_files(),
            *(f"-var={name}={_argument(value)}" for name, value in variables.items()),
        )
        document: dict[str, Any] = commands.read("show", "-json", file)
        return document

    def _renew(
        self, commands: Commands, copy: Workspace, variables: Mapping[str, Value], locking: str
    ) -> None:
        """Make a stale plan anew.

        :raises StalePlanError: if it does what was not shown.
        """
        self._on_line("the saved plan is stale: making a new one, to apply what is left of the one shown")
        shown = commands.read("show", "-json", SAVED_PLAN)
        renewed = self._planned(commands, copy, variables, RENEWED_PLAN, locking)
        self._tell(plans.from_document(self._environment, renewed))
        if added := renewal.additions(shown, renewed):
            raise StalePlanError(
                f"{self._environment}: the saved plan is stale, and a new one would also {', '.join(added)}, "
                "which nobody was shown; start a new run, which shows the new plan"
            )

    def _applied(self, commands: Commands, copy: Workspace, file: str, locking: str) -> dict[str, Any]:
        try:
            said = commands.say("apply", "-json", "-input=false", locking, file)
        except FinalError:
            self._bring_home(commands, copy, locking)
            raise
        found = [message["outputs"] for message in said if message.get("type") == "outputs"]
        return outputs.from_document(found[-1]) if found else {}

    def _bring_home(self, commands: Commands, copy: Workspace, locking: str) -> None:
        """Write a state that Terraform could not write, before its file goes with the workspace."""
        if not (copy.root / ERRORED_STATE).is_file():
            return
        self._on_line(f"Terraform could not write its state; trying again from {ERRORED_STATE}")
        try:
            commands.show("state", "push", locking, ERRORED_STATE)
        except PlanError as error:
            raise PlanError(
                f"{self._environment}: Terraform's state could not be written to s3://{self._state.bucket}/"
                f"{self._state.key}, twice: what the log shows as created is not in it; mend the bucket, "
                "then `terraform import` those resources"
            ) from error

    @contextmanager
    def _locked(
        self, commands: Commands, copy: Workspace, operation: Literal["Plan", "Apply"]
    ) -> Iterator[str]:
        """Hold the state's lock; gives the argument with which Terraform runs under it.

        Where the root module locks otherwise than in the state's bucket, Terraform locks for itself, and a
        lock that a dead one leaves has to be put aside by a person.
        """
        if not self._locks_in_bucket(copy):
            self._on_line("the backend does not lock in its bucket alone: Terraform takes its lock itself")
            yield self._lock_timeout
            return
        with self._lock.held(operation) as lock_id:
            commands.under_lock(lock_id)
            yield "-lock=false"

    def _locks_in_bucket(self, copy: Workspace) -> bool:
        """Tell whether the backend that `init` connected uses the lock file beside our state, and only it."""
        file = copy.root / ".terraform" / "terraform.tfstate"
        if not file.is_file():
            return False
        backend = json.loads(file.read_text(encoding="utf-8")).get("backend") or {}
        config = backend.get("config") or {}
        return (
            backend.get("type") == "s3"
            and (config.get("bucket"), config.get("key")) == (self._state.bucket, self._state.key)
            and bool(config.get("use_lockfile"))
            and not config.get("dynamodb_table")
        )

    def outputs(self) -> dict[str, Any]:
        """Read the outputs of the last apply, without sensitive ones.

        :raises PlanError: if Terraform failed.
        """
        with workspace.copied(self._root) as copy:
            return outputs.from_document(self._initialised(copy).read("output", "-json"))

    def interrupt(self) -> None:
        """Stop what is running in an orderly way; safe to call from a signal handler."""
        self._tool.interrupt()

    def _initialised(self, copy: Workspace) -> Commands:
        commands = Commands(
            environment=self._environment,
            binary=self._binary,
            folder=copy.root,
            config_file=copy.top / CLI_CONFIG,
            scratch=copy.private,
            aws=self._aws,
            tool=self._tool,
            on_line=self._on_line,
        )
        backend = {"bucket": self._state.bucket, "key": self._state.key, "region": self._state.region}
        if any(name.startswith("AWS_ENDPOINT_URL") for name in self._aws):
            backend["use_path_style"] = "true"  # such an endpoint has no host name for each bucket
        # In the run's private folder, but not in what is packed with a plan.
        with credentials(copy.private / "git", self._git, os.environ) as git:
            commands.init(backend, git)
        return commands

    def _tell(self, plan: Plan) -> None:
        self._on_line(plan.headline())
        for change in plan.changes:
            self._on_line(f"  {change.line()}")

    def _check(self, plan: Plan, allow_destroy: bool) -> None:
        if not plan.forbidden:
            return
        listed = ", ".join(f"{change.action} {change.address}" for change in plan.forbidden)
        if allow_destroy:
            self._on_line(f"Allowed by allow_destroy: {listed}")
            return
        raise PlanError(
            f"{self._environment}: the plan would {listed}; if that is wanted, start the deployment with "
            "allow_destroy, else undo the change in Terraform"
        )


def _argument(value: Value) -> str:
    """Write a value as -var takes it: text as it is, everything else as an expression."""
    return value if isinstance(value, str) else json.dumps(value)
