"""The CI job's script against a server that answers as Airflow's API documents."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from ci import deploy
from tests.ci.airflow_api import TOKEN, Api, self_signed, serving, task

COMMIT = "5374d1b2c3a4"
DONE = [task("begin", "success"), task("release", "success"), task("close", "success"), task("x", "skipped")]


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*deploy.JOB_VARIABLES, "AIRFLOW_URL", "AIRFLOW_USERNAME", "AIRFLOW_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_TOKEN", TOKEN)
    monkeypatch.setenv("CI_PIPELINE_ID", "77")


def run(api: Api, *more: str) -> int:
    return deploy.main(["production", "--airflow", api.url, "--commit", COMMIT, "--interval", "0.01", *more])


def test_a_run_is_started_and_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    first = [task("begin", "running"), task("release", None)]
    with serving(Api([("queued", []), ("running", first), ("running", first), ("success", DONE)])) as api:
        assert run(api) == 0
    assert api.posted == [
        {
            "dag_run_id": f"ci__77__{COMMIT}__1",
            "logical_date": None,
            "conf": {"application_ref": COMMIT},
        }
    ]
    said = capsys.readouterr().out.splitlines()
    link = f"{api.url}/dags/rolling_deployment_production/runs/ci__77__{COMMIT}__1"
    assert said == [
        f"run ci__77__{COMMIT}__1 started: {link}",
        "queued: it starts when no other run of this environment goes on",
        "… begin",
        "✓ begin (2 s)",
        "✓ release (2 s)",
        "✓ close (2 s)",
        "· x",
        f"deployed: {link}",
    ]


def test_a_run_that_changes_nothing_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api([("success", [task("release", "skipped")])])) as api:
        assert run(api) == 0
    assert "nothing had to change" in capsys.readouterr().out


REFUSAL = "production: image ami-3 was rejected here and nothing changed since, so nothing is deployed"
SKIPPED = [task("layers.decide", "success"), task("release", "skipped")]


def test_a_commit_whose_image_is_rejected_is_not_green(capsys: pytest.CaptureFixture[str]) -> None:
    first = f"ci__77__{COMMIT}__1"
    with serving(Api([("success", SKIPPED)], refusals={first: REFUSAL})) as api:
        assert run(api) == deploy.IMAGE_REJECTED
        said = capsys.readouterr()
        link = f"{api.url}/dags/rolling_deployment_production/runs/{first}"
        assert said.err == f"error: not deployed: {REFUSAL}; {link}\n"
        assert "nothing had to change" not in said.out
        # A person may have overridden it meanwhile: the job started again looks afresh.
        api.runs[first] = "success"
        assert run(api) == 0
    assert [body["dag_run_id"] for body in api.posted] == [first, f"ci__77__{COMMIT}__2"]
    assert "nothing had to change" in capsys.readouterr().out


def test_a_failure_is_told_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    failed = [
        task("web.verify", "upstream_failed"),
        task("web.wave_1.drain", "failed", map_index=1, try_number=3, end_date="2026-01-01T00:00:02Z"),
        task("worker.wave_1.retire", "failed", end_date="2026-01-01T00:00:09Z"),
    ]
    log = [
        {"event": "::group::Log message source details"},
        {"event": "draining i-0abc", "level": "info"},
        {"event": "Task failed", "level": "error", "error_detail": [
            {"exc_type": "DrainError", "exc_value": "i-0abc: 3 lines are unread"},
            {"exc_type": "OSError", "exc_value": "its context"},
        ]},
        {"event": "task finished", "level": "info"},
    ]  # fmt: skip
    with serving(Api([("failed", failed)], log=log)) as api:
        assert run(api) == deploy.FAILED
    assert api.logs_asked == ["/taskInstances/web.wave_1.drain/logs/3?map_index=1"]
    error = capsys.readouterr().err
    assert error.startswith("error: web.wave_1.drain[1] failed: DrainError: i-0abc: 3 lines are unread; ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ([{"event": "no", "level": "error"}, {"event": "end", "level": "info"}], "no"),
        ([{"event": "one"}, {"event": "the last"}], "the last"),
        (["a line", "another line", ""], "another line"),
        ([], ""),
    ],
)
def test_a_log_without_an_exception_has_a_cause_too(log: list[Any], cause: str) -> None:
    assert deploy.last_error(log) == cause


def test_a_run_that_a_person_ended_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api([("failed", [task("begin", "success")])])) as api:
        assert run(api) == deploy.FAILED
    assert "none of its tasks did" in capsys.readouterr().err


def approval(**more: Any) -> dict[str, Any]:
    return {
        "task_instance": {"task_id": "terraform.approve"},
        "subject": "Apply this plan to production?",
        "assigned_users": [],
        "response_received": False,
        "responded_by_user": None,
        "chosen_options": None,
        **more,
    }


@pytest.mark.parametrize("state", ["deferred", "awaiting_input"])
def test_an_approval_says_who_and_where(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [task("terraform.approve", state)]
    ended = [task("terraform.approve", "success"), *DONE]
    details = [approval(assigned_users=[{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bo"}])]
    steps = [("running", waiting), ("running", waiting), ("success", ended)]
    with serving(Api(steps, approvals=details)) as api:
        assert run(api) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("waits")]
    page = f"{api.url}/dags/rolling_deployment_production/runs/ci__77__{COMMIT}__1/tasks/terraform.approve"
    assert said == [f"waits for Ann, Bo: Apply this plan to production? {page}/required_actions"]


def test_a_rejection_fails_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    details = [approval(chosen_options=["Reject"], response_received=True, responded_by_user={"name": "Ann"})]
    ended = [task("terraform.approve", "success"), task("release", "skipped")]
    with serving(Api([("success", ended)], approvals=details)) as api:
        assert run(api) == deploy.REJECTED
    assert "Ann rejected the plan: nothing was deployed" in capsys.readouterr().err


def test_a_job_that_gives_up_says_that_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api([("running", [task("layers.bake_base", "running")])])) as api:
        assert run(api, "--timeout", "0") == deploy.UNFINISHED
    assert "now at: layers.bake_base; it goes on: " in capsys.readouterr().err


@pytest.mark.parametrize("lost", [None, 500, 503, 429])
def test_lost_answers_start_no_second_run(lost: int | None) -> None:
    # the answers about the DAG, the run that is not there, its start; and each one after them once more
    with serving(
        Api([("running", []), ("success", DONE)], faults=[lost, 0, lost, 0, lost, 0, lost, 0])
    ) as api:
        assert run(api) == 0
    assert [body["dag_run_id"] for body in api.posted] == [f"ci__77__{COMMIT}__1"]


def test_airflow_that_stays_away_ends_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api([("running", [])], faults=[0, 0, 0, *[503] * 1000])) as api:
        assert run(api, "--patience", "0.05") == deploy.UNFINISHED
    assert "has given no answer for" in capsys.readouterr().err


@pytest.mark.parametrize(("before", "follows"), [("running", 1), ("success", 1), ("failed", 2)])
def test_a_job_started_again_adopts_its_run(before: str, follows: int) -> None:
    runs = {f"ci__77__{COMMIT}__1": before}
    with serving(Api([("success", DONE)], runs=runs)) as api:
        assert run(api) == 0
    started = [f"ci__77__{COMMIT}__{follows}"] if before == "failed" else []
    assert [body["dag_run_id"] for body in api.posted] == started


def test_another_job_starts_its_own_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Api([("success", DONE)], runs={f"ci__77__{COMMIT}__1": "success"})) as api:
        assert run(api, "--job", "deploy of main/78") == 0
    assert [body["dag_run_id"] for body in api.posted] == [f"ci__deploy-of-main-78__{COMMIT}__1"]


def test_a_token_that_expires_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")

    class Expiring(Api):
        def answer(self, method: str, address: str, token: str | None, body: Any) -> tuple[int, Any]:
            if self.posted and self.token == TOKEN:
                self.token = "the-next-token"
                file.write_text(self.token)
            return super().answer(method, address, token, body)

    with serving(Expiring([("running", []), ("success", DONE)])) as api:
        assert run(api, "--token-file", str(file)) == 0


def test_it_logs_in_with_a_name_and_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_TOKEN")
    monkeypatch.setenv("AIRFLOW_USERNAME", "ci")
    monkeypatch.setenv("AIRFLOW_PASSWORD", "word")
    with serving(Api([("success", DONE)])) as api:
        assert run(api) == 0


def test_wrong_logins_and_settings_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refusal(status: int) -> str:
        assert status == deploy.REFUSED
        return capsys.readouterr().err

    with serving(Api([("success", DONE)], paused=True)) as api:
        assert "is paused in Airflow" in refusal(run(api))
        api.paused = False
        api.faults = [302]
        assert "sends to http://127.0.0.1:9/elsewhere" in refusal(run(api))
        assert "No such file" in refusal(run(api, "--token-file", str(tmp_path / "none")))
        assert "--ca-file" in refusal(run(api, "--ca-file", str(tmp_path / "none")))
        monkeypatch.delenv("CI_PIPELINE_ID")
        assert "this job has no name" in refusal(run(api))
        monkeypatch.setenv("CI_PIPELINE_ID", "77")
        monkeypatch.setenv("AIRFLOW_TOKEN", "wrong")
        assert "HTTP 403: Invalid JWT token; the login has expired" in refusal(run(api))
        monkeypatch.delenv("AIRFLOW_TOKEN")
        assert "no login" in refusal(run(api))
    arguments = ["production", "--commit", COMMIT]
    assert "address is missing" in refusal(deploy.main(arguments))
    assert "expected https" in refusal(deploy.main([*arguments, "--airflow", "http://airflow.example.com"]))
    secret = "https://ci:xyzzy@airflow.example.com"
    assert "xyzzy" not in refusal(deploy.main([*arguments, "--airflow", secret]))


def test_a_certificate_is_checked_against_ones_own_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = self_signed(tmp_path)
    with serving(Api([("success", DONE)]), certificate=file) as api:
        assert run(api) == deploy.REFUSED
        assert "see --ca-file" in capsys.readouterr().err
        assert run(api, "--ca-file", str(file)) == 0


def test_an_environment_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Api([])) as api:
        status = deploy.main(["nowhere", "--airflow", api.url, "--commit", COMMIT])
    assert status == deploy.REFUSED
    assert "HTTP 404" in capsys.readouterr().err


def test_it_is_one_file_of_the_standard_library() -> None:
    text = Path(deploy.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    import sys

    assert imported <= sys.stdlib_module_names
