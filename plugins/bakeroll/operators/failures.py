"""What a task that failed leaves: its cause in one sentence, and the evidence, in its log and as XComs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException, AirflowSkipException, DownstreamTasksSkipped
from botocore.exceptions import BotoCoreError, ClientError

from bakeroll.core.errors import BakerollError, ConfigError, PreflightError, RolledBackError
from bakeroll.listeners.run_note import CAUSE

if TYPE_CHECKING:
    from airflow.sdk import Context

EVIDENCE = "evidence"
"""The XCom with what AWS says, by kind."""


@contextmanager
def explained(
    context: Context,
    tell: Callable[[str], object],
    evidence: Callable[[], Mapping[str, str]] = dict,
) -> Iterator[None]:
    """Keep the cause of a failure, and the evidence for it.

    :param tell: gets the evidence, line by line of the log; the cause is the exception, which Airflow logs.
    :param evidence: gathers it.
    """
    try:
        yield
    except (AirflowSkipException, DownstreamTasksSkipped):
        raise  # no failure: so ends a task that skips itself or others
    except RolledBackError:
        raise  # an effect whose cause is known
    except Exception as error:
        context["ti"].xcom_push(key=CAUSE, value=sentence(error))
        found = _gathered(evidence)
        for kind, text in found.items():
            tell(f"{kind}:\n{text}")
        if found:
            context["ti"].xcom_push(key=EVIDENCE, value=found)
        raise


def _gathered(evidence: Callable[[], Mapping[str, str]]) -> dict[str, str]:
    """Gather the evidence; what hinders that is no reason to hide the failure itself."""
    try:
        return dict(evidence())
    except (AirflowException, BakerollError, BotoCoreError, ClientError) as error:
        return {EVIDENCE: f"it could not be gathered: {sentence(error)}"}


def sentence(error: Exception) -> str:
    """Say in one line what went wrong: of several problems the first, and how many more there are."""
    line, *others = str(error).splitlines() or [""]
    if isinstance(error, PreflightError) and others:
        # Its first line only counts them: "production: 2 things stand in the way; …", then "- " and one each.
        where = line.partition(":")[0]
        first, *others = (other.removeprefix("- ") for other in others)
        line = f"{where}: {first}"
    if isinstance(error, PreflightError | ConfigError) and others:
        return f"{line} (and {len(others)} more)"
    return line if isinstance(error, BakerollError) and line else f"{type(error).__name__}: {line}"
