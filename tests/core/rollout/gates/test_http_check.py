"""One request and its answer: what is right, what is wrong, and that nothing takes longer than it may."""

from __future__ import annotations

import socket
import time

import pytest

from bakeroll.core.gate_settings import HttpCheck
from bakeroll.core.rollout.gates import http_check
from bakeroll.core.rollout.gates.http_check import Address, Answers, ask, find_address, row_of_answers
from tests.core.rollout.gates.application import Page, application

PATIENT = HttpCheck.model_validate({"timeout": "30s"})
"""Whatever else this machine does."""


def address(server):
    return Address("127.0.0.1", server.port, encrypted=False, name="127.0.0.1")


def asked(page, **check):
    with application() as server:
        server.pages = lambda: [page]
        return ask(HttpCheck.model_validate({"timeout": "30s", **check}), address(server))


@pytest.mark.parametrize(
    ("page", "check", "said"),
    [
        (Page(), {}, None),
        (Page(404, "gone"), {"status": 404}, None),
        (Page(500, "Traceback"), {}, "500, expected 200: Traceback"),
        (Page(body="hello world"), {"body": "world"}, None),
        (Page(body="hello"), {"body": "world"}, "200 without the text 'world' in its body: hello"),
        (Page(headers={"X-Version": "2"}), {"headers": {"x-version": "2"}}, None),
        (
            Page(headers={"X-Version": "1"}),
            {"headers": {"x-version": "2"}},
            "200 with x-version: '1', expected '2'",
        ),
        (Page(), {"headers": {"x-version": "2"}}, "200 with x-version: no such header, expected '2'"),
        (
            Page(302, "", {"Location": "https://elsewhere.example.com/"}),
            {},
            "302 (to https://elsewhere.example.com/), expected 200",
        ),
        (Page(302, "", {"Location": "/login"}), {"status": 302, "headers": {"location": "/login"}}, None),
    ],
)
def test_answers(page, check, said):
    assert asked(page, **check) == said


def test_a_redirect_is_not_followed():
    with application() as server:
        server.pages = lambda: [Page(301, "", {"Location": "/elsewhere"})]
        ask(PATIENT, address(server))
        assert [path for path, _ in server.asked] == ["/"]


def test_the_name_that_is_asked_for():
    with application() as server:
        ask(HttpCheck(path="/a?b=c"), Address("127.0.0.1", server.port, encrypted=False, name="example.com"))
        assert server.asked == [("/a?b=c", f"example.com:{server.port}")]


def drip(handler):
    """Send a byte every now and then, so that no single read ever times out."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    try:
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def test_an_answer_that_never_ends_is_cut_off():
    assert asked(Page(raw=drip), timeout="1s") == "nothing within 1 s"


def close(handler):
    handler.close_connection = True


def nonsense(handler):
    handler.wfile.write(b"good day\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("how", "said"), [(close, "nothing: RemoteDisconnected"), (nonsense, "nothing: BadStatusLine: good day")]
)
def test_no_answer_at_all(how, said):
    answer = asked(Page(raw=how))
    assert answer is not None
    assert answer.startswith(said)


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = Address("127.0.0.1", taken.getsockname()[1], encrypted=False, name="x")
        assert str(ask(HttpCheck(), place)).startswith("nothing: ConnectionRefusedError")


def test_a_listener_that_speaks_no_tls():
    with application() as server:
        place = Address("127.0.0.1", server.port, encrypted=True, name="localhost")
        assert str(ask(HttpCheck(), place)).startswith("nothing: SSLError")


def test_only_the_first_megabyte_is_read():
    page = Page(body="x" * http_check.BODY_BYTES + "end")
    assert str(asked(page, body="end")).startswith("200 without the text 'end'")


def turns(server, *statuses):
    left = list(statuses)
    server.pages = lambda: [Page(left.pop(0) if left else 200, "")]


def test_one_wrong_answer_is_one_too_many():
    with application() as server:
        turns(server, 200, 500)
        assert "answered 500, expected 200" in str(row_of_answers(PATIENT, address(server), 10).fault)
        assert len(server.asked) == 2


def test_wrong_answers_that_are_put_up_with_begin_the_row_again():
    with application() as server:
        turns(server, 200, 200, 500, 200, 500)
        check = HttpCheck.model_validate({"wrong_answers": 2, "timeout": "30s"})
        assert row_of_answers(check, address(server), 3) == Answers()
        assert len(server.asked) == 8
        turns(server, 200, 500, 200, 500, 200, 500)
        said = str(row_of_answers(check, address(server), 3).fault)
        assert said.endswith("answered 500, expected 200 (3 wrong answers)")


def test_a_look_ends_though_the_answers_are_slow(monkeypatch):
    monkeypatch.setattr(http_check, "LOOK_SECONDS", 0.0)
    with application() as server:
        answers = row_of_answers(PATIENT, address(server), 500)
        assert len(server.asked) < 500
        assert str(answers.missing).endswith("of 500 right answers in a row within 0 s")


def test_a_given_address():
    check = HttpCheck.model_validate({"url": "https://www.example.com", "host": "example.org"})
    found = find_address(None, [], check)
    assert found == Address("www.example.com", 443, encrypted=True, name="example.org")
    assert str(found) == "https://www.example.com:443"
    check = HttpCheck.model_validate({"url": "http://127.0.0.1:8080"})
    assert find_address(None, [], check) == Address("127.0.0.1", 8080, False, "127.0.0.1")
