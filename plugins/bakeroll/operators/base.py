"""What bakeroll's operators have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.configuration import conf

from bakeroll.core.deployment import Deployment
from bakeroll.core.errors import FinalError, OwnershipLostError
from bakeroll.core.steps import Done, Step, Wait, advance
from bakeroll.hooks.account import AccountHook
from bakeroll.operators.failures import explained
from bakeroll.triggers.step import StepTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

LOOK_SECONDS = 1.0
EXIT_MARGIN_SECONDS = 1.0


class DeploymentOperator(BaseOperator):
    """A task of one environment's deployment.

    :param environment_file: path of the environment's YAML file.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#eef3fb"

    def __init__(self, *, environment_file: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.environment_file = environment_file

    def deployment(self, context: Context) -> Deployment:
        """Return this run's view of the environment, read afresh."""
        return Deployment(
            Path(self.environment_file),
            owner(context),
            lambda environment: AccountHook(environment).get_conn(),
        )

    def execute(self, context: Context) -> Any:
        """Do the task's work; a failure leaves its cause, wherever in it it happens."""
        with explained(context, self.log.error, lambda: self.evidence(context)):
            return self.work(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, which Airflow does by this method in the place of ``execute``."""
        with explained(context, self.log.error, lambda: self.evidence(context)):
            return super().resume_execution(next_method, next_kwargs, context)

    @abstractmethod
    def work(self, context: Context) -> Any:
        """Do what this task is there for."""

    def evidence(self, context: Context) -> Mapping[str, str]:  # noqa: ARG002
        """Return what AWS says of a failure, by kind."""
        return {}


class StepOperator(DeploymentOperator):
    """Runs one step of a rollout: acts in the worker, waits in the triggerer.

    :param step: the step's name, as :meth:`bakeroll.core.deployment.Deployment.step` knows it.
    """

    looks_before_deferring = 0
    """How often the worker itself looks again: what ends within seconds ends sooner than a trigger's turn."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def plain_arguments(self) -> Mapping[str, Any]:
        """Return what a trigger needs to make the same step; plain values only."""
        return {}

    def make(self, deployment: Deployment, context: Context, arguments: Mapping[str, Any]) -> Step:  # noqa: ARG002
        """Return the step; a subclass may give it what only a worker has."""
        return deployment.step(self.step, arguments)

    def work(self, context: Context) -> Any:
        """Do all that can be done now; defer if the rest is waiting."""
        return self.advance(context, self.plain_arguments())

    def resume(self, context: Context, event: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Go on where the trigger saw something to do."""
        return self.advance(context, arguments)

    def advance(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Look and act until there is nothing to do but wait, or the end is reached."""
        deployment = self.deployment(context)
        try:
            outcome = self._advance(self.make(deployment, context, arguments))
        except OwnershipLostError:
            raise
        except FinalError:
            # Not tried again by itself: whoever clears this task has mended something.
            deployment.give_up(self.step, arguments)
            raise
        if isinstance(outcome, Wait):
            self.log.info(outcome.why)
            self.defer(
                trigger=self.trigger(
                    context,
                    arguments,
                    environment_file=self.environment_file,
                    owner=owner(context),
                    kind=self.step,
                    not_before=time.time() + exit_seconds(),
                ),
                method_name="resume",
                kwargs={"arguments": dict(arguments)},
            )
        return outcome.result

    def trigger(self, context: Context, arguments: Mapping[str, Any], **kwargs: Any) -> StepTrigger:  # noqa: ARG002
        """Return what looks at the step from now on; a subclass may look at more."""
        return StepTrigger(arguments=arguments, **kwargs)

    def _advance(self, step: Step) -> Wait | Done:
        outcome = advance(step, self.log.info)
        for _ in range(self.looks_before_deferring):
            if not isinstance(outcome, Wait):
                break
            time.sleep(LOOK_SECONDS)
            outcome = advance(step, self.log.info)
        return outcome


def exit_seconds() -> float:
    """Return how long it may take until Airflow knows that a task's process has ended.

    Its supervisor may miss the end by a moment and looks again a whole interval later. A task that was
    resumed before that is taken for killed: "the executor reported that the task instance finished with
    state success, but the task instance's state attribute is running", and is retried.
    """
    interval: float = conf.getfloat("workers", "min_heartbeat_interval")
    return interval + EXIT_MARGIN_SECONDS


def owner(context: Context) -> str:
    """Return the run as the journal names it."""
    return f"{context['dag'].dag_id}/{context['run_id']}"
