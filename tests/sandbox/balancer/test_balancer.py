"""The balancer with real HAProxy: who gets requests, and that no client's connection is ever dropped."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.balancer import Balancer, BalancerError, LoadBalancerSpec

pytestmark = pytest.mark.alone

GROUP = "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/web/1"
OTHER = "arn:aws:elasticloadbalancing:ap-northeast-1:123456789012:targetgroup/web/2"
ADDRESS = "127.20.77.1"


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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def do_GET(self) -> None:
        if self.path.startswith("/slow/"):
            time.sleep(float(self.path.removeprefix("/slow/")))
        body = json.dumps({"name": self.name}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


@contextlib.contextmanager
def target(address: str) -> Iterator[tuple[str, int]]:
    handler = type("Named", (Handler,), {"name": address})
    server = Server((address, 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield address, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    # A long folder: the path of HAProxy's socket must not matter.
    made = Balancer(tmp_path / ("long" * 30))
    yield made
    made.close()


def listen(balancer: Balancer, **ports: int) -> None:
    groups = {"port": GROUP, "other": OTHER}
    listeners = {number: groups[name] for name, number in ports.items()}
    balancer.apply({"arn:lb": LoadBalancerSpec(address=ADDRESS, listeners=listeners)})


def ask(port: int, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body)["name"] if response.status == 200 else ""
    finally:
        connection.close()


def test_a_listener_without_targets_answers_503(balancer: Balancer, port: int) -> None:
    listen(balancer, port=port)
    assert ask(port)[0] == 503


def test_requests_are_spread_over_healthy_targets(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one, target("127.10.77.2") as two:
        balancer.targets(GROUP, [(*one, "healthy"), (*two, "healthy")])
        listen(balancer, port=port)
        assert sorted(ask(port)[1] for _ in range(4)) == ["127.10.77.1"] * 2 + ["127.10.77.2"] * 2


def test_a_draining_target_finishes_what_it_has_and_gets_nothing_new(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one, target("127.10.77.2") as two:
        listen(balancer, port=port)
        balancer.targets(GROUP, [(*one, "healthy")])
        answers: list[tuple[int, str]] = []
        slow = threading.Thread(target=lambda: answers.append(ask(port, "/slow/3")))
        slow.start()
        wait_for_sessions(balancer, port)
        balancer.targets(GROUP, [(*one, "draining"), (*two, "healthy")])
        assert {ask(port)[1] for _ in range(10)} == {"127.10.77.2"}
        slow.join(timeout=10)
        assert answers == [(200, "127.10.77.1")]


def wait_for_sessions(balancer: Balancer, port: int) -> None:
    proxy = balancer._proxies[(ADDRESS, port)]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        rows = [
            line.split(",")
            for line in proxy._command("show stat").splitlines()
            if line.startswith("targets,")
        ]
        if any(int(row[4] or 0) for row in rows if row[1] == "BACKEND"):
            return
        time.sleep(0.01)
    raise AssertionError("the request never reached the target")


def test_only_a_draining_target_answers_503(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one:
        listen(balancer, port=port)
        balancer.targets(GROUP, [(*one, "draining")])
        assert ask(port)[0] == 503


def test_a_target_that_is_left_out_is_cut_and_may_come_back(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one:
        listen(balancer, port=port)
        balancer.targets(GROUP, [(*one, "healthy")])
        answers: list[object] = []

        def slowly() -> None:
            try:
                answers.append(ask(port, "/slow/60")[0])
            except (OSError, http.client.HTTPException) as error:
                answers.append(error)

        slow = threading.Thread(target=slowly)
        slow.start()
        wait_for_sessions(balancer, port)
        balancer.targets(GROUP, [])
        began = time.monotonic()
        slow.join(timeout=45)
        assert time.monotonic() - began < 40
        assert answers != [200]
        assert ask(port)[0] == 503
        balancer.targets(GROUP, [(*one, "healthy")])
        assert ask(port)[0] == 200


def test_a_listener_that_changes_its_group_keeps_its_connections(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one, target("127.10.77.2") as two:
        balancer.targets(GROUP, [(*one, "healthy")])
        balancer.targets(OTHER, [(*two, "healthy")])
        listen(balancer, port=port)
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
        names = []
        for group in (GROUP, OTHER):
            balancer.apply({"arn:lb": LoadBalancerSpec(address=ADDRESS, listeners={port: group})})
            connection.request("GET", "/")
            names.append(json.loads(connection.getresponse().read())["name"])
        assert names == ["127.10.77.1", "127.10.77.2"]
        assert connection.sock is not None


def test_a_proxy_that_died_is_started_again(balancer: Balancer, port: int) -> None:
    with target("127.10.77.1") as one:
        listen(balancer, port=port)
        balancer._proxies[(ADDRESS, port)]._leash.kill()
        balancer._proxies[(ADDRESS, port)]._leash.wait(timeout=5)
        balancer.targets(GROUP, [(*one, "healthy")])
        assert ask(port)[0] == 200


def test_a_removed_listener_no_longer_listens(balancer: Balancer, port: int) -> None:
    listen(balancer, port=port)
    balancer.apply({})
    with pytest.raises(ConnectionRefusedError):
        ask(port)


def test_an_address_in_use_is_named(balancer: Balancer) -> None:
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        with pytest.raises(BalancerError, match=f"{ADDRESS}"):
            listen(balancer, port=taken.getsockname()[1])


def test_no_request_fails_while_targets_come_and_go(balancer: Balancer, port: int) -> None:
    """100 requests a second on 20 kept-alive connections, one in twenty of them slow, for about 6 seconds."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(target(f"127.10.77.{n}")) for n in range(1, 5)]
        listen(balancer, port=port)
        balancer.targets(GROUP, [(*servers[0], "healthy"), (*servers[1], "healthy")])
        stop = threading.Event()
        failures: list[str] = []
        sent = itertools.count()
        reconnected = itertools.count()

        def client(number: int) -> None:
            connection = http.client.HTTPConnection(ADDRESS, port, timeout=10)
            connection.connect()
            first = connection.sock
            due = time.monotonic() + number * 0.01
            while not stop.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                due += 0.2
                request = next(sent)
                try:
                    connection.request("GET", "/slow/1.0" if request % 20 == 0 else "/")
                    response = connection.getresponse()
                    response.read()
                    if response.status != 200:
                        failures.append(str(response.status))
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                if connection.sock is not first:
                    next(reconnected)
                    first = connection.sock
            connection.close()

        clients = [threading.Thread(target=client, args=(n,)) for n in range(20)]
        for thread in clients:
            thread.start()
        for step in range(4):
            old, new = servers[step % 4], servers[(step + 2) % 4]
            stay = servers[(step + 1) % 4]
            balancer.targets(GROUP, [(*old, "healthy"), (*stay, "healthy"), (*new, "healthy")])
            time.sleep(0.3)
            balancer.targets(GROUP, [(*old, "draining"), (*stay, "healthy"), (*new, "healthy")])
            time.sleep(1.3)
            balancer.targets(GROUP, [(*stay, "healthy"), (*new, "healthy")])
        stop.set()
        for thread in clients:
            thread.join(timeout=15)
        assert failures == []
        assert next(reconnected) == 0
        assert next(sent) > 400


def test_a_killed_server_leaves_no_proxy(tmp_path: Path, port: int) -> None:
    program = (
        "import sys, time; from pathlib import Path; from sandbox.balancer import *\n"
        f"b = Balancer(Path({str(tmp_path)!r}))\n"
        f"b.apply({{'a': LoadBalancerSpec(address={ADDRESS!r}, listeners={{{port}: 'g'}})}})\n"
        "print('up', flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(root)}
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        assert ask(port)[0] == 503
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=5)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            ask(port)
        except ConnectionRefusedError:
            return
        except (ConnectionError, http.client.BadStatusLine):
            pass  # it ended while it was asked: the next one finds nobody, or somebody it should not
        time.sleep(0.02)
    raise AssertionError("HAProxy still listens")
