"""Plan, apply, and read outputs of one environment."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakeroll.core.errors import PlanError
from bakeroll.core.process import Tool
from bakeroll.core.terraform import outputs, plans, workspace
from bakeroll.core.terraform.commands import Commands
from bakeroll.core.terraform.plans import Plan, PlanLocation
from bakeroll.core.terraform.store import PlanStore
from bakeroll.core.terraform.workspace import Workspace

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SAVED_PLAN = "saved.tfplan"
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
    :param tool: runs it; a killed task calls its `interrupt`, and Terraform then releases the lock.
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
        tool: Tool | None = None,
        lock_timeout_seconds: int = 0,
    ) -> None:
        self._environment = environment
        self._root = root
        self._state = state
        self._store = PlanStore(s3, state.bucket)
        self._aws = dict(aws)
        self._on_line = on_line
        self._binary = binary
        self._tool = tool or Tool()
        self._lock_timeout = f"-lock-timeout={lock_timeout_seconds}s"

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
            commands.say(
                "plan",
                "-json",
                "-input=false",
                self._lock_timeout,
                f"-out={SAVED_PLAN}",
                *copy.variable_files(),
                *(f"-var={name}={_argument(value)}" for name, value in variables.items()),
            )
            plan = plans.from_document(self._environment, commands.read("show", "-json", SAVED_PLAN))
            if plan.has_changes:
                commands.show("show", "-no-color", SAVED_PLAN)
            self._tell(plan)
            self._check(plan, allow_destroy)
            if not plan.has_changes:
                return plan
            root = str(copy.root.relative_to(copy.top))
            return replace(plan, location=self._store.save(plan, run, copy.pack(), root))

    def apply(self, location: PlanLocation) -> dict[str, Any]:
        """Apply that very plan.

        :param location: where :meth:`plan` saved it.
        :return: the outputs, without sensitive ones.
        :raises StalePlanError: if the state was changed after the plan was made.
        :raises LockedError: if somebody else holds the state.
        :raises PlanError: if Terraform failed.
        :raises ToolInterruptedError: if the task was killed; what was done by then is in the state.
        """
        archive, root = self._store.load(self._environment, location)
        with workspace.unpacked(archive, root) as copy:
            said = self._initialised(copy).say(
                "apply", "-json", "-input=false", self._lock_timeout, SAVED_PLAN
            )
        found = [message["outputs"] for message in said if message.get("type") == "outputs"]
        return outputs.from_document(found[-1]) if found else {}

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
            aws=self._aws,
            tool=self._tool,
            on_line=self._on_line,
        )
        backend = {"bucket": self._state.bucket, "key": self._state.key, "region": self._state.region}
        if any(name.startswith("AWS_ENDPOINT_URL") for name in self._aws):
            backend["use_path_style"] = "true"  # such an endpoint has no host name for each bucket
        commands.init(backend)
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
