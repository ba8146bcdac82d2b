"""Faults over a real socket: what boto3 meets there, and the control path."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from sandbox import __main__ as command
from sandbox import client as control
from sandbox import state
from sandbox.wire.control import Control
from sandbox.wire.http import Front, listen
from sandbox.wire.inprocess import VirtualAccount, virtual_account
from tests.fleets import make_fleet


class Served:
    """A virtual account behind a real port."""

    def __init__(self) -> None:
        self.aws: VirtualAccount = virtual_account(seed=1)
        self.aws.faults.pass_time = self.waited = _Waits()
        self._http = listen(
            0, Front(self.aws.cloud.api, Control(self.aws.faults, {"calls": self.aws.calls.table}))
        )
        self.address, self.port = str(self._http.server_address[0]), int(self._http.server_port)
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def client(self, service: str, *, attempts: int = 1, read_timeout: float = 60) -> Any:
        config = Config(
            retries={"total_max_attempts": attempts},
            read_timeout=read_timeout,
            s3={"addressing_style": "path"},
        )
        made: Any = boto3.client
        return made(
            service,
            region_name="ap-northeast-1",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id="AKIAOURS000000000000",
            aws_secret_access_key="any",
            config=config,
        )

    def close(self) -> None:
        self.waited.end.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Waits:
    """Silence that lasts until the test has seen what it wants."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()
        self.asked: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        if seconds:
            self.begun.set()
            self.end.wait(30)


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.close()


@pytest.fixture
def fleet(served: Served) -> str:
    return make_fleet(served.aws, image_id=served.aws.image("app"), size=2, maximum=9).group


def minimum(served: Served) -> int:
    groups = served.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return int(groups[0]["MinSize"])


@pytest.mark.parametrize(("fault", "after"), [("lost", 3), ("dropped", 2)])
def test_a_connection_closes_without_an_answer(served: Served, fleet: str, fault: str, after: int) -> None:
    served.aws.faults.set(fault=fault, action="autoscaling:UpdateAutoScalingGroup", count=1)
    with pytest.raises(ConnectionClosedError):
        served.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=fleet, MinSize=3)
    assert minimum(served) == after


def test_boto3_tries_a_lost_call_again_by_itself(served: Served, fleet: str) -> None:
    served.aws.faults.set(fault="lost", action="autoscaling:UpdateAutoScalingGroup", count=1)
    client = served.client("autoscaling", attempts=2)
    client.update_auto_scaling_group(AutoScalingGroupName=fleet, MinSize=3)
    assert served.aws.calls.count("autoscaling", "UpdateAutoScalingGroup") == 2


def test_a_silent_connection_is_a_read_timeout_of_a_call_that_was_done(served: Served, fleet: str) -> None:
    served.aws.faults.set(fault="lost", action="autoscaling:UpdateAutoScalingGroup", count=1, seconds=120)
    client = served.client("autoscaling", read_timeout=0.2)
    with pytest.raises(ReadTimeoutError):
        client.update_auto_scaling_group(AutoScalingGroupName=fleet, MinSize=3)
    assert served.waited.asked == [120]
    assert minimum(served) == 3


def test_a_client_goes_on_with_its_connection_after_a_lost_answer(served: Served) -> None:
    client = served.client("sts")
    client.get_caller_identity()
    served.aws.faults.set(fault="lost", action="sts:*", count=1)
    with pytest.raises(ConnectionClosedError):
        client.get_caller_identity()
    assert client.get_caller_identity()["Account"] == "123456789012"


def test_a_slow_call_keeps_nobody_else_waiting(served: Served) -> None:
    served.aws.faults.set(fault="slow", action="sts:*", seconds=60, count=1)
    slow = threading.Thread(target=served.client("sts").get_caller_identity)
    slow.start()
    assert served.waited.begun.wait(30)
    assert served.client("ec2").describe_instances()["Reservations"] == []
    assert slow.is_alive()
    served.waited.end.set()
    slow.join(30)
    assert not slow.is_alive()


def test_each_protocol_throttles_over_http(served: Served) -> None:
    control.Client(served.port).set_fault(fault="throttle", action="*", principal="AKIAOURS*")
    codes = {}
    for service, method in (
        ("autoscaling", "describe_auto_scaling_groups"),
        ("ec2", "describe_instances"),
        ("s3", "list_buckets"),
        ("ssm", "describe_instance_information"),
    ):
        with pytest.raises(ClientError) as error:
            getattr(served.client(service), method)()
        codes[service] = error.value.response["Error"]["Code"]
    assert codes == {
        "autoscaling": "Throttling",
        "ec2": "RequestLimitExceeded",
        "s3": "SlowDown",
        "ssm": "ThrottlingException",
    }


def test_a_head_request_is_throttled_too(served: Served) -> None:
    served.aws.client("s3").create_bucket(
        Bucket="state", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-1"}
    )
    served.aws.faults.set(fault="throttle", action="s3:HeadBucket")
    with pytest.raises(ClientError) as error:
        served.client("s3").head_bucket(Bucket="state")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_faults_are_set_listed_and_cleared_by_command(
    served: Served, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "state"
    state.claim(folder, served.port)
    with monkeypatch.context() as patch:
        patch.setenv("BAKEROLL_SANDBOX_STATE", str(folder))

        def run(*words: str) -> str:
            assert command.main(["fault", *words]) == 0, capsys.readouterr().out
            return capsys.readouterr().out.strip()

        first = run("set", "throttle", "action=autoscaling:*", "rate=0.2", "count=3")
        run("set", '{"fault": "slow", "action": "ec2:Describe*", "seconds": 3}')
        listed = [json.loads(line) for line in run("list").splitlines()]
        assert [(each["fault"], each["action"], each["rate"]) for each in listed] == [
            ("throttle", "autoscaling:*", 0.2),
            ("slow", "ec2:Describe*", 1.0),
        ]
        run("clear", first)
        assert [each["fault"] for each in served.aws.faults.list()] == ["slow"]
        run("clear")
        assert run("list") == ""
        for words, says in {
            ("set", "throttle"): "fault throttle needs action",
            ("set", "throttle", "rate"): "'rate' is no name=value, for instance rate=0.2",
            ("set", "throttle", "action=*", "rate=7"): "rate is 7, expected a number above 0 and up to 1",
            ("set", "{oops"): "the setting is no JSON",
            ("clear", "9"): "there is no fault 9; those set are none",
        }.items():
            assert command.main(["fault", *words]) == 1
            (line,) = capsys.readouterr().out.splitlines()
            assert line.startswith("sandbox: error: ")
            assert says in line
    state.release(folder)


def test_a_fault_command_without_a_server_says_so(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["fault", "list", "--state-dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "sandbox: error: no sandbox runs; `make up` starts one\n"


def send(served: Served, method: str, path: str, data: bytes, headers: dict[str, str]) -> tuple[int, str]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{served.port}/_sandbox/{path}", data=data or None, method=method
    )
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (("GET", "nothing", b"", {}), 404, "there is no /_sandbox/nothing; there are calls, faults"),
        (("POST", "calls", b"{}", {}), 405, "can only be read"),
        (("PUT", "faults", b"{}", {}), 405, "takes GET, POST and DELETE"),
        (("DELETE", "faults/x", b"", {}), 404, "there is no fault x; their ids are numbers"),
        (("POST", "faults", b"{}", {"Content-Type": "text/plain"}), 415, "sent as application/json"),
        (("POST", "faults", b"{", {"Content-Type": "application/json"}), 400, "is no JSON"),
        (("POST", "faults", b"[]", {"Content-Type": "application/json"}), 400, "is no JSON object"),
        (("GET", "faults", b"", {"Host": "sandbox.example.com:80"}), 403, "for this machine alone"),
        (("GET", "faults", b"", {"Origin": "http://localhost:8080"}), 403, "not for web pages"),
    ],
)
def test_the_control_path_refuses_in_one_line(
    served: Served, request_: tuple[str, str, bytes, dict[str, str]], status: int, says: str
) -> None:
    found, message = send(served, *request_)
    assert found == status
    assert says in message
    assert served.aws.faults.list() == []


def test_the_port_is_on_loopback_alone(served: Served) -> None:
    assert served.address == "127.0.0.1"
