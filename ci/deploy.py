#!/usr/bin/env python3
"""Deploy a commit from a CI job: start the environment's run in Airflow, follow it, fail with its cause.

    AIRFLOW_TOKEN=… python3 ci/deploy.py production --airflow https://airflow.example.com --commit "$COMMIT"

One file, Python 3.8 or later, nothing to install. It logs in with AIRFLOW_TOKEN, with --token-file, or with
AIRFLOW_USERNAME and AIRFLOW_PASSWORD; none of them is ever an argument. A job that is started again adopts
its run if that goes on or has succeeded, and starts another one only after a failure or status 5.

Exit status: 0 deployed, or nothing to change; 1 the run failed; 2 wrong settings or refused by Airflow;
3 not over in time, or Airflow not reached: the run goes on; 4 a person rejected the plan; 5 nothing was
deployed, as the commit's image was rejected in this environment before.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

FAILED, REFUSED, UNFINISHED, REJECTED, IMAGE_REJECTED = 1, 2, 3, 4, 5
APPROVAL = "terraform.approve"
#: Where a run of which nothing is deployed, as the image was rejected before, says so; such a run is green.
REFUSAL = "/taskInstances/layers.decide/xcomEntries/run_note"
PAGE = 100  # Airflow's largest, [api] maximum_page_limit
REQUEST_SECONDS = 60.0
ATTEMPTS = 50  # runs of one commit in one job; more is a loop somewhere
WAITING = frozenset({"deferred", "awaiting_input"})
MARKS = {
    "running": "…",
    "deferred": "…",
    "awaiting_input": "…",
    "success": "✓",
    "skipped": "·",
    "failed": "✗",
    "up_for_retry": "↻",
}
#: What names the job, so that the same job started again is known: the first one that is set.
JOB_VARIABLES = (
    "GITHUB_RUN_ID",
    "CI_PIPELINE_ID",
    "DRONE_BUILD_NUMBER",
    "BUILDKITE_BUILD_ID",
    "CIRCLE_WORKFLOW_ID",
    "BUILD_TAG",
)


class Stop(Exception):  # noqa: N818  # no error by itself: it carries the exit status as well
    """Ends the script.

    :param status: its exit status.
    :param text: one line for the person who reads the job's log.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class LostError(Exception):
    """A request had no answer; it may have worked nevertheless."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token goes where the settings say and nowhere else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Airflow:
    """Airflow's REST API, version 2.

    :param url: where it is, without `/api/v2`.
    :param ca_file: certificates of an authority of one's own, else None.
    :param token: reads the token, None to log in with a name and a password.
    :param patience_seconds: how long Airflow may give no answer.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | None,
        token: Callable[[], str] | None,
        patience_seconds: float,
        pause_seconds: float,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._patience_seconds = patience_seconds
        self._pause_seconds = pause_seconds
        self._authorization = ""
        handlers: list[urllib.request.BaseHandler] = [
            _NoRedirects(),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
        ]
        if _is_loopback(self.url):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, path: str, **parameters: Any) -> Any:
        """Read; a lost answer is asked for again."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._insist(lambda: self._ask("GET", f"/api/v2{path}{query}"))

    def find(self, path: str) -> Any:
        """Read; gives None if it is not there."""
        return self._insist(lambda: self._ask("GET", f"/api/v2{path}", accept=404))

    def post(self, path: str, body: dict[str, Any]) -> Any | None:
        """Create, also again after a lost answer; gives None if it is there already."""
        return self._insist(lambda: self._ask("POST", f"/api/v2{path}", body, accept=409))

    def pages(self, path: str, key: str) -> list[dict[str, Any]]:
        """Read a list to its end."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.get(path, limit=PAGE, offset=len(found))
            found += answer[key]
            if len(found) >= answer["total_entries"] or not answer[key]:
                return found

    def _insist(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer; a refused login is tried once more, as tokens expire."""
        deadline = time.monotonic() + self._patience_seconds
        fresh = not self._authorization
        while True:
            try:
                self._authorization = self._authorization or self._log_in()
                return ask()
            except urllib.error.HTTPError as error:
                # Airflow answers 403 "Invalid JWT token" to one that has expired.
                if error.code in {401, 403} and not fresh:
                    fresh, self._authorization = True, ""
                    continue
                _refused(error, self.url)
            except LostError as error:
                if time.monotonic() > deadline:
                    raise Stop(
                        UNFINISHED,
                        f"{self.url} has given no answer for {self._patience_seconds:.0f} s ({error}); "
                        "a run that was started goes on",
                    ) from error
                time.sleep(self._pause_seconds)

    def _log_in(self) -> str:
        if self._token is not None:
            return f"Bearer {self._token()}"
        login = {"username": os.environ["AIRFLOW_USERNAME"], "password": os.environ["AIRFLOW_PASSWORD"]}
        return f"Bearer {self._ask('POST', '/auth/token', login)['access_token']}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None, accept: int = 0) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._authorization:
            headers["Authorization"] = self._authorization
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310  # see _address
        try:
            with self._opener.open(request, timeout=REQUEST_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == accept:
                return None
            if error.code >= 500 or error.code in {408, 429}:
                raise LostError(f"HTTP {error.code}") from error
            raise
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise Stop(REFUSED, f"{self.url}: {error.reason.verify_message}; see --ca-file") from error
            raise LostError(str(error.reason)) from error
        except (OSError, HTTPException, ValueError) as error:
            raise LostError(f"{type(error).__name__}: {error}") from error


class Deployment:
    """One run of one environment's DAG.

    :param airflow: the API.
    :param environment: the environment's name.
    """

    def __init__(self, airflow: Airflow, environment: str) -> None:
        self._airflow = airflow
        self._dag_id = f"rolling_deployment_{environment}"
        self._path = f"/dags/{quote(self._dag_id)}"
        self.run_id = ""
        self._said: dict[str, str | None] = {}

    @property
    def link(self) -> str:
        """The run's page in Airflow."""
        return f"{self._airflow.url}/dags/{self._dag_id}/runs/{quote(self.run_id)}"

    def start(self, commit: str, job: str) -> None:
        """Start the run, or adopt the one that this job has started already.

        :param commit: what to deploy.
        :param job: the job's name, equal when it is started again.
        """
        if self._airflow.get(self._path)["is_paused"]:
            raise Stop(REFUSED, f"{self._dag_id} is paused in Airflow: nothing would run; unpause it there")
        name = re.sub(r"[^A-Za-z0-9_.~:+-]", "-", f"ci__{job}__{commit}")
        for attempt in range(1, ATTEMPTS + 1):
            self.run_id = f"{name}__{attempt}"
            found = self._airflow.find(f"{self._path}/dagRuns/{quote(self.run_id)}")
            if found is None:
                break
            if found["state"] != "failed" and not (found["state"] == "success" and self._refusal()):
                return say(f"run {self.run_id} is there already: {self.link}")
        else:
            raise Stop(REFUSED, f"{ATTEMPTS} runs {name} have deployed nothing; look at them in Airflow")
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": {"application_ref": commit}}
        made = self._airflow.post(f"{self._path}/dagRuns", body)
        return say(f"run {self.run_id} {'started' if made else 'is there already'}: {self.link}")

    def follow(self, timeout_seconds: float, interval_seconds: float) -> None:
        """Say what happens until the run is over.

        :raises Stop: if it fails, is rejected, or is not over in time.
        """
        deadline = time.monotonic() + timeout_seconds
        run_path = f"{self._path}/dagRuns/{quote(self.run_id)}"
        while True:
            run = self._airflow.get(run_path)  # before its tasks: at the end none of them is missed
            tasks = self._airflow.pages(f"{run_path}/taskInstances", "task_instances")
            self._tell(run, tasks, run_path)
            if run["state"] == "failed":
                raise Stop(FAILED, self._cause(tasks, run_path))
            if run["state"] == "success":
                return self._succeeded(tasks, run_path)
            if time.monotonic() > deadline:
                now = ", ".join(_label(each) for each in tasks if each["state"] in {"running", *WAITING})
                raise Stop(
                    UNFINISHED,
                    f"not over after {timeout_seconds:.0f} s, now at: {now or run['state']}; "
                    f"it goes on: {self.link}",
                )
            time.sleep(interval_seconds)

    def _tell(self, run: dict[str, Any], tasks: list[dict[str, Any]], run_path: str) -> None:
        if run["state"] == "queued" and self._news("run", "queued"):
            say("queued: it starts when no other run of this environment goes on")
        for task in tasks:
            state, label = task["state"], _label(task)
            if state in MARKS and self._news(label, state):
                took = f" ({task['duration']:.0f} s)" if state == "success" and task["duration"] else ""
                say(f"{MARKS[state]} {label}{took}")
        if any(task["state"] in WAITING and task["task_id"] == APPROVAL for task in tasks):
            self._tell_who_approves(run_path)

    def _tell_who_approves(self, run_path: str) -> None:
        for detail in self._airflow.pages(f"{run_path}/hitlDetails", "hitl_details"):
            task_id = detail["task_instance"]["task_id"]
            if detail["response_received"] or not self._news(f"approval of {task_id}", "asked"):
                continue
            names = ", ".join(user["name"] for user in detail["assigned_users"])
            who = names or "anybody who may answer in Airflow"
            say(f"waits for {who}: {detail['subject']} {self.link}/tasks/{quote(task_id)}/required_actions")

    def _news(self, what: str, state: str | None) -> bool:
        before, self._said[what] = self._said.get(what), state
        return before != state

    def _succeeded(self, tasks: list[dict[str, Any]], run_path: str) -> None:
        if any(task["task_id"] == APPROVAL for task in tasks):
            for detail in self._airflow.pages(f"{run_path}/hitlDetails", "hitl_details"):
                if "Approve" not in (detail["chosen_options"] or ["Approve"]):
                    by = (detail["responded_by_user"] or {}).get("name", "a person")
                    raise Stop(REJECTED, f"{by} rejected the plan: nothing was deployed; {self.link}")
        if any(task["task_id"] == "release" and task["state"] == "success" for task in tasks):
            return say(f"deployed: {self.link}")
        if refusal := self._refusal():
            raise Stop(IMAGE_REJECTED, f"not deployed: {refusal}; {self.link}")
        return say(f"nothing had to change: {self.link}")

    def _refusal(self) -> str:
        """Return why the run did not deploy its image, empty if it did or had nothing to do."""
        path = f"{self._path}/dagRuns/{quote(self.run_id)}{REFUSAL}?deserialize=true"
        found = self._airflow.find(path)
        return str(found["value"]) if found else ""

    def _cause(self, tasks: list[dict[str, Any]], run_path: str) -> str:
        failed = sorted(
            (each for each in tasks if each["state"] == "failed"), key=lambda each: each["end_date"] or ""
        )
        if not failed:
            return f"the run failed, none of its tasks did: a person ended it, or Airflow did; {self.link}"
        first = failed[0]
        where = f"{run_path}/taskInstances/{quote(first['task_id'])}/logs/{first['try_number']}"
        lines = self._airflow.get(where, map_index=first["map_index"])["content"]
        return f"{_label(first)} failed: {last_error(lines) or 'its log is empty'}; {self.link}"


def last_error(entries: list[Any]) -> str:
    """Find what tells why a task failed: its log's last exception, else last error, else last line."""
    found = {"exception": "", "error": "", "line": ""}
    for entry in entries:
        if not isinstance(entry, dict):
            found["line"] = str(entry).strip() or found["line"]
            continue
        event = str(entry.get("event", "")).strip()
        found["line"] = event or found["line"]
        if str(entry.get("level", "")).lower() in {"error", "critical"} and event:
            found["error"] = event
        for cause in (entry.get("error_detail") or ())[:1]:
            found["exception"] = f"{cause['exc_type']}: {cause['exc_value']}"
    return found["exception"] or found["error"] or found["line"]


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run; gives the exit status."""
    try:
        options = _options(arguments)
        deployment = Deployment(_airflow(options), options.environment)
        deployment.start(options.commit, _job(options.job))
        deployment.follow(options.timeout, options.interval)
    except Stop as stop:
        sys.stderr.write(f"error: {stop}\n")
        return stop.status
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("environment", help="the environment's name: its file below dags/environments")
    parser.add_argument(
        "--airflow", default=os.environ.get("AIRFLOW_URL"), help="Airflow's address [AIRFLOW_URL]"
    )
    parser.add_argument("--commit", required=True, help="commit to deploy; a tag or branch works too")
    parser.add_argument("--job", help=f"name of this job [the first set of {', '.join(JOB_VARIABLES)}]")
    parser.add_argument("--token-file", help="file with a token, read again when it has expired")
    parser.add_argument("--ca-file", help="certificates of your own authority")
    parser.add_argument("--timeout", type=float, default=7200.0, help="seconds until the job gives up [7200]")
    parser.add_argument("--patience", type=float, default=300.0, help="seconds without an answer [300]")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two looks [5]")
    options = parser.parse_args(arguments)
    if not options.airflow:
        raise Stop(REFUSED, "Airflow's address is missing: give --airflow or set AIRFLOW_URL")
    _check_address(options.airflow)
    return options


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise Stop(REFUSED, "the address holds a password, which every log would show; set AIRFLOW_TOKEN")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(url)):
        return
    raise Stop(REFUSED, f"{url}: expected https://…, as a token goes there; http:// only to this machine")


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d+){3}", host) is not None


def _job(given: str | None) -> str:
    named = [given, *(os.environ.get(name) for name in JOB_VARIABLES)]
    for job in named:
        if job:
            return job
    raise Stop(REFUSED, f"this job has no name: give --job, or set one of {', '.join(JOB_VARIABLES)}")


def _airflow(options: argparse.Namespace) -> Airflow:
    token: Callable[[], str] | None = None
    if options.token_file:
        token = _reader(Path(options.token_file))
    elif os.environ.get("AIRFLOW_TOKEN"):
        token = os.environ["AIRFLOW_TOKEN"].strip
    elif not (os.environ.get("AIRFLOW_USERNAME") and os.environ.get("AIRFLOW_PASSWORD")):
        raise Stop(
            REFUSED,
            "no login: set AIRFLOW_TOKEN, give --token-file, or set AIRFLOW_USERNAME and AIRFLOW_PASSWORD",
        )
    try:
        return Airflow(
            options.airflow,
            ca_file=options.ca_file,
            token=token,
            patience_seconds=options.patience,
            pause_seconds=options.interval,
        )
    except OSError as error:
        raise Stop(REFUSED, f"--ca-file {options.ca_file}: {error}") from error


def _reader(file: Path) -> Callable[[], str]:
    def read() -> str:
        try:
            return file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Stop(REFUSED, f"--token-file {file}: {error.strerror}") from error

    return read


def _label(task: dict[str, Any]) -> str:
    place = task.get("rendered_map_index") or task["map_index"]
    return str(task["task_id"]) if task["map_index"] < 0 else f"{task['task_id']}[{place}]"


def _refused(error: urllib.error.HTTPError, url: str) -> NoReturn:
    if 300 <= error.code < 400:
        raise Stop(REFUSED, f"{url} sends to {error.headers.get('Location')}: give that address") from error
    try:
        detail = json.load(error).get("detail", "")
    except (OSError, ValueError, AttributeError):
        detail = error.reason
    advice = {401: "; the login is wrong", 403: "; the login has expired, or its user may not do this"}
    said = f"Airflow refused with HTTP {error.code}: {detail}{advice.get(error.code, '')}"
    raise Stop(REFUSED, said) from error


if __name__ == "__main__":
    sys.exit(main())
