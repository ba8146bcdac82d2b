"""The collector keeps whole chunks, and the comparison with the answers is exact."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo import collector, log_lines
from demo.settings import DemoError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "collected" / "lines.jsonl"


@pytest.fixture
def url(file: Path) -> Iterator[str]:
    with collector.server(0, collector.Lines(file)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def lines(*request_ids: str) -> bytes:
    return b"".join(json.dumps({"request_id": each}).encode() + b"\n" for each in request_ids)


def test_chunks_are_kept_and_counted(url: str, file: Path) -> None:
    with requests.Session() as session:
        for chunk in (lines("a", "b"), lines("c"), lines("b"), b""):
            assert session.post(url, data=chunk, timeout=5).status_code == 200
    assert collector.request_ids(file) == Counter({"a": 1, "b": 2, "c": 1})


@pytest.mark.parametrize("chunk", [b'{"request_id": "x"}\nno json\n', b'{"request_id": "x"}\n[1]\n'])
def test_a_chunk_with_a_bad_line_is_refused_whole(url: str, file: Path, chunk: bytes) -> None:
    assert requests.post(url, data=chunk, timeout=5).status_code == 400
    assert collector.request_ids(file) == Counter()


def test_a_body_without_a_length_is_refused(url: str, file: Path) -> None:
    assert requests.post(url, data=iter([lines("a")]), timeout=5).status_code == 411
    assert collector.request_ids(file) == Counter()


def test_many_senders_at_once_do_not_mix_lines(url: str, file: Path) -> None:
    def send(sender: int) -> None:
        with requests.Session() as session:
            for number in range(20):
                session.post(url, data=lines(*(f"{sender}-{number}-{i}" for i in range(50))), timeout=5)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = collector.request_ids(file)
    assert len(counts) == 4 * 20 * 50
    assert set(counts.values()) == {1}


def test_a_line_that_is_being_written_is_not_counted_yet(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(lines("a") + b'{"request_i')
    assert collector.request_ids(file) == Counter({"a": 1})


def test_a_line_without_an_id_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text('{"status": 200}\n')
    with pytest.raises(DemoError, match="no request_id"):
        collector.request_ids(file)


def test_equal_lines_compare_equal() -> None:
    found = log_lines.compare({"a", "b"}, Counter("ab"))
    assert found.equal
    assert str(found) == "2 written, 2 collected"


@pytest.mark.parametrize(
    ("collected", "words"),
    [
        (Counter("a"), "1 lost (such as b)"),
        (Counter("abb"), "1 collected twice (such as b)"),
        (Counter("abx"), "1 of nobody's request (such as x)"),
        (Counter("ax"), "1 lost"),
    ],
)
def test_equal_numbers_do_not_make_lines_equal(collected: Counter[str], words: str) -> None:
    found = log_lines.compare({"a", "b"}, collected)
    assert not found.equal
    assert words in str(found)
