from __future__ import annotations

import json
from pathlib import Path

import pytest

from bakeroll.core.errors import BakeError
from bakeroll.core.layers.packer_output import Transcript, image_of_manifest

REGION = "ap-northeast-1"


def said(*lines: str) -> str:
    transcript = Transcript()
    for line in lines:
        transcript.readable(line)
    return transcript.failure()


@pytest.mark.parametrize(
    ("line", "readable"),
    [
        ("\x1b[1;32m==> amazon-ebs.layer: Creating temporary keypair\x1b[0m", "Creating temporary keypair"),
        ("    amazon-ebs.layer: TASK [base : Set the time zone] ***", "TASK [base : Set the time zone] ***"),
        ("    amazon-ebs.layer:   indented  ", "  indented"),
        ("Build 'amazon-ebs.layer' finished.", "Build 'amazon-ebs.layer' finished."),
        ("", ""),
    ],
)
def test_lines_are_readable(line: str, readable: str) -> None:
    assert Transcript().readable(line) == readable


def test_ansibles_failure_explains_best() -> None:
    assert said(
        "    amazon-ebs.layer: TASK [base : Install] ****",
        '    amazon-ebs.layer: fatal: [default]: FAILED! => {"msg": "No package matching"}',
        "==> amazon-ebs.layer: Provisioning step had errors: Running the cleanup provisioner",
        "Build 'amazon-ebs.layer' errored after 1 minute: Error executing Ansible: exit status 2",
        "==> Builds finished but no artifacts were created.",
    ) == "task 'base : Install': fatal: [default]: FAILED! => {\"msg\": \"No package matching\"}"  # fmt: skip


def test_a_failure_that_ansible_ignored_explains_nothing() -> None:
    assert said(
        "    amazon-ebs.layer: fatal: [default]: FAILED! => {}",
        "    amazon-ebs.layer: ...ignoring",
        "Build 'amazon-ebs.layer' errored: Timeout waiting for SSH.",
        "==> Some builds didn't complete successfully and had errors:",
    ) == "Build 'amazon-ebs.layer' errored: Timeout waiting for SSH."  # fmt: skip


def test_without_a_known_line_the_last_ones_are_told() -> None:
    assert said("one", "", "two", "three", "four") == "two / three / four"
    assert said() == "no output"


def test_a_long_failure_is_cut() -> None:
    assert len(said("fatal: " + "x" * 5000)) == 600


def manifest(path: Path, *builds: tuple[str, str], last: str = "run-2") -> Path:
    entries = [{"packer_run_uuid": run, "artifact_id": artifact} for run, artifact in builds]
    path.write_text(json.dumps({"builds": entries, "last_run_uuid": last}))
    return path


def test_the_image_of_the_last_run_and_this_region_is_taken(tmp_path: Path) -> None:
    found = manifest(
        tmp_path / "m", ("run-1", f"{REGION}:ami-1"), ("run-2", f"us-east-1:ami-2,{REGION}:ami-3")
    )
    assert image_of_manifest(found, REGION) == "ami-3"


def test_a_manifest_without_the_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BakeError, match="no readable manifest"):
        image_of_manifest(tmp_path / "none", REGION)
    with pytest.raises(BakeError, match=f"names no image in {REGION}"):
        image_of_manifest(manifest(tmp_path / "m", ("run-2", "us-east-1:ami-2")), REGION)


THROTTLED = (
    "==> amazon-ebs.layer: Error querying AMI: RequestLimitExceeded: Request limit exceeded.",
    "==> amazon-ebs.layer: \tstatus code: 503, request id: 1",
    "Build 'amazon-ebs.layer' errored after 20 milliseconds: Error querying AMI: RequestLimitExceeded: no.",
    "\tstatus code: 503, request id: 1",
)
REFUSED = (
    "Build 'amazon-ebs.layer' errored: Error querying AMI: InvalidAMIID.NotFound: no such image",
    "\tstatus code: 400, request id: 2",
)
FAILED_PLAY = (
    '    amazon-ebs.layer: fatal: [default]: FAILED! => {"msg": "status code: 503, request id: 3"}',
    "Build 'amazon-ebs.layer' errored: Error executing Ansible: exit status 2",
)
UNREACHABLE = ("Build 'amazon-ebs.layer' errored: RequestError: send request failed",)


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        (THROTTLED, True),
        (UNREACHABLE, True),
        (REFUSED, False),
        (THROTTLED + REFUSED, False),
        (FAILED_PLAY, False),
        (FAILED_PLAY + THROTTLED, False),
        (("Build 'amazon-ebs.layer' errored: Timeout waiting for SSH.",), False),
        ((), False),
    ],
)
def test_what_passes_is_what_aws_itself_could_not_do(lines: tuple[str, ...], *, passes: bool) -> None:
    transcript = Transcript()
    for line in lines:
        transcript.readable(line)
    assert transcript.passing is passes
