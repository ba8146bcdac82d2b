"""Ask a person whether the plan is applied."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from bakeroll.core.errors import AbortedError
from bakeroll.operators.failures import explained

if TYPE_CHECKING:
    from airflow.sdk import Context

APPROVAL_TIMEOUT = timedelta(hours=24)
"""How long a plan waits for a person. The run is alive meanwhile, so nobody takes its journal."""


class ApprovePlanOperator(ApprovalOperator):
    """Shows the plan and waits for a person, who approves it or rejects it; it asks once.

    Asked again after a day of silence, it would wait longer than the journal's ``waits_until`` says.

    :param environment: the environment's name.
    """

    def __init__(self, *, environment: str, **kwargs: Any) -> None:
        super().__init__(
            subject=f"Apply this plan to {environment}?",
            body="{{ task_instance.xcom_pull('terraform.plan')['changes'] | join('\n\n') }}",
            response_timeout=APPROVAL_TIMEOUT,
            retries=0,
            **kwargs,
        )
        self.environment = environment

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the answer; a failure leaves its cause for the note of the run."""
        with explained(context, self.log.error):
            return super().execute_complete(context, event)

    def process_trigger_event_error(self, event: Mapping[str, Any]) -> None:
        """Say what it means that nobody answered.

        :raises AbortedError: if time is up.
        """
        if event["error_type"] == "timeout":
            hours = APPROVAL_TIMEOUT.total_seconds() / 3600
            raise AbortedError(
                f"{self.environment}: nobody approved or rejected the plan within {hours:.0f} h, so nothing "
                "was applied; start a new run"
            )
        super().process_trigger_event_error(dict(event))
