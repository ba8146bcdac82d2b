from __future__ import annotations

import json
from typing import Any

from bakeroll.core.errors import LockedError, PlanError, StalePlanError
from bakeroll.core.terraform import messages


def diagnostic(summary: str, detail: str = "", severity: str = "error", **more: Any) -> messages.Message:
    return {
        "@level": severity,
        "@message": f"Error: {summary}",
        "type": "diagnostic",
        "diagnostic": {"severity": severity, "summary": summary, "detail": detail, **more},
    }


# As Terraform 1.11.4 prints it with the S3 backend's lock file.
LOCKED = diagnostic(
    "Error acquiring the state lock",
    "Error message: operation error S3: PutObject, https response error StatusCode: 412\n"
    "Lock Info:\n  ID:        0b6f-11\n  Path:      state/terraform/test/terraform.tfstate\n"
    "  Operation: OperationTypePlan\n  Who:       bob@worker-1\n  Version:   1.11.4\n"
    "  Created:   2026-11-23 06:40:22.1 +0000 UTC\n  Info:      \n\n\nTerraform acquires a state lock …",
)


def test_other_output_is_no_message() -> None:
    assert messages.parse("Interrupt received.") is None
    assert messages.parse("{not json") is None
    assert messages.parse('{"a": 1}') is None


def test_lines_for_people_show_detail_and_place() -> None:
    message = diagnostic(
        "Bad value", "one\n\ntwo", address="aws_lb.this", range={"filename": "main.tf", "start": {"line": 3}}
    )
    assert list(messages.for_people(message)) == [
        "Error: Bad value",
        "  aws_lb.this, main.tf:3",
        "  one",
        "  two",
    ]
    version = messages.parse(json.dumps({"@message": "Terraform 1.11.4", "type": "version"}))
    assert version is not None
    assert list(messages.for_people(version)) == []


def test_a_locks_holder_and_the_next_step_are_named() -> None:
    error = messages.error_of("test", "terraform plan", [LOCKED], "")
    assert isinstance(error, LockedError)
    assert str(error) == (
        "test: the Terraform state is locked by bob@worker-1 since 2026-11-23 06:40:22.1 +0000 UTC "
        "(OperationTypePlan, lock 0b6f-11); wait until that run ends, or, if it is surely dead, run "
        "`terraform force-unlock 0b6f-11` in the environment's folder"
    )


def test_a_lock_that_cannot_be_made_says_what_terraform_said() -> None:
    message = diagnostic("Error acquiring the state lock", "Error message: access denied")
    error = messages.error_of("test", "terraform plan", [message], "")
    assert isinstance(error, LockedError)
    assert "access denied" in str(error)


def test_a_stale_plan_is_told_apart() -> None:
    error = messages.error_of("test", "terraform apply", [diagnostic("Saved plan is stale")], "")
    assert isinstance(error, StalePlanError)
    assert str(error).endswith("start a new run, which makes a new one"), "this one is rolled back"


def test_the_first_error_counts_and_warnings_do_not() -> None:
    said = [
        diagnostic("Deprecated", severity="warning"),
        diagnostic("creating ASG", "api error\n  ValidationError", address="aws_autoscaling_group.this"),
        diagnostic("another"),
    ]
    error = messages.error_of("test", "terraform apply", said, "")
    assert isinstance(error, PlanError)
    assert str(error) == (
        "test: terraform apply failed: creating ASG: api error ValidationError "
        "(aws_autoscaling_group.this) (and 1 more); see the task's log"
    )


def test_a_failure_without_a_diagnostic_gives_the_last_line() -> None:
    error = messages.error_of("test", "terraform init", [], "exec format error")
    assert str(error) == "test: terraform init failed: exec format error; see the task's log"


def test_a_very_long_diagnostic_is_cut() -> None:
    error = messages.error_of("test", "terraform plan", [diagnostic("long", "x" * 5000)], "")
    assert len(str(error)) < 600


def test_a_name_that_is_taken_says_how_to_take_the_resource_in() -> None:
    message = diagnostic(
        "creating ELBv2 Load Balancer (web)",
        "DuplicateLoadBalancerName: A load balancer with the same name already exists",
        address="module.load_balancer.aws_lb.this",
    )
    error = messages.error_of("test", "terraform apply", [message], "")
    assert isinstance(error, PlanError)
    assert str(error).endswith(
        "`terraform import` it as module.load_balancer.aws_lb.this or delete it, then start a new run"
    )
    assert "import" not in str(messages.error_of("test", "terraform plan", [message], ""))
