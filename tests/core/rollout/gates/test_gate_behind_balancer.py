"""A bad version beside a good one behind a real HAProxy: nobody can choose who answers, and it is caught."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bakeroll.core.gate_settings import HttpCheck
from bakeroll.core.rollout.gates.http_check import Address, Answers, requests_needed, row_of_answers
from sandbox.balancer import Balancer, LoadBalancerSpec
from tests.core.rollout.gates.application import Application, Page, application

GROUP = "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/web/1"
ADDRESS = "127.20.78.1"
CHECK = HttpCheck.model_validate({"consecutive": 1, "timeout": "30s"})


@pytest.fixture(autouse=True)
def _needs() -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [] if shutil.which("haproxy", path=path) else ["HAProxy"]
    if os.geteuid() != 0:
        missing.append("root")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"missing: {missing}")
    if missing:
        pytest.skip(f"missing: {missing}")


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[tuple[Balancer, Address]]:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port = int(probe.getsockname()[1])
    made = Balancer(tmp_path)
    made.apply({"arn:lb": LoadBalancerSpec(address=ADDRESS, listeners={port: GROUP})})
    yield made, Address(ADDRESS, port, encrypted=False, name=ADDRESS)
    made.close()


@pytest.fixture
def targets() -> Iterator[list[Application]]:
    """Serve with seven old instances and one new one."""
    with ExitStack() as stack:
        yield [stack.enter_context(application()) for _ in range(8)]


def test_one_bad_target_of_eight_is_found(
    balancer: tuple[Balancer, Address], targets: list[Application]
) -> None:
    made, address = balancer
    made.targets(GROUP, [("127.0.0.1", one.port, "healthy") for one in targets])
    wanted = requests_needed(CHECK, 1, 8)
    assert row_of_answers(CHECK, address, wanted) == Answers()
    assert sum(len(one.asked) for one in targets) == wanted
    assert all(one.asked for one in targets)
    targets[3].pages = lambda: [Page(500, "Traceback")]
    said = row_of_answers(CHECK, address, wanted).fault
    assert said == f"GET / at {address} answered 500, expected 200: Traceback"


def test_a_load_balancer_without_targets_is_no_answer(balancer: tuple[Balancer, Address]) -> None:
    _, address = balancer
    assert "answered 503, expected 200" in str(row_of_answers(CHECK, address, 1).fault)
