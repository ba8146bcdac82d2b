"""The stand-in for Fluentd: holds lines back, sends them when told to flush, loses none."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any


def write(folder: Path, *lines: str) -> None:
    with (folder / "access.log").open("a") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def test_lines_are_held_until_a_flush_and_then_sent_once(
    start_forwarder: Any, collector: Any, tmp_path: Path
) -> None:
    forwarder = start_forwarder(FLUENTD_SHARED_KEY="key-of-this-test")
    write(tmp_path, "a", "b")
    forwarder.wait_read()
    assert collector.lines == []
    assert forwarder.output()["buffer_total_queued_size"] == 4
    forwarder.flush_and_wait()
    assert collector.lines == ["a", "b"]
    write(tmp_path, "c")
    forwarder.wait_read()
    forwarder.flush_and_wait()
    assert collector.lines == ["a", "b", "c"]
    assert collector.headers[0]["Authorization"] == "Bearer key-of-this-test"
    assert collector.headers[0]["Content-Type"] == "application/x-ndjson"


def test_the_pos_file_has_fluentds_format(start_forwarder: Any, tmp_path: Path) -> None:
    forwarder = start_forwarder()
    write(tmp_path, "a")
    forwarder.wait_read()
    log = tmp_path / "access.log"
    assert (tmp_path / "access.pos").read_text() == f"{log}\t{2:016x}\t{log.stat().st_ino:016x}\n"


def test_half_a_line_waits_for_its_end(
    start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path
) -> None:
    forwarder = start_forwarder()
    write(tmp_path, "a")
    with (tmp_path / "access.log").open("a") as stream:
        stream.write("half")
        stream.flush()
        waiting(lambda: forwarder.position()[0] == 2, "the whole line is read")
        forwarder.flush_and_wait()
        assert collector.lines == ["a"]
        stream.write(" and half\n")
    forwarder.wait_read()
    forwarder.flush_and_wait()
    assert collector.lines == ["a", "half and half"]


def test_a_refused_chunk_is_sent_again(
    start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path
) -> None:
    forwarder = start_forwarder()
    collector.refuse.set()
    write(tmp_path, "a")
    forwarder.wait_read()
    forwarder.flush()
    waiting(lambda: forwarder.output()["retry_count"] >= 2, "it was tried again")
    assert forwarder.output()["buffer_total_queued_size"] == 2
    collector.refuse.clear()
    waiting(forwarder.empty, "the buffer is empty")
    assert collector.lines == ["a"]
    assert forwarder.output()["retry_count"] == 0


def test_while_a_chunk_is_sent_its_bytes_count_though_the_queue_is_empty(
    start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path
) -> None:
    forwarder = start_forwarder()
    collector.hold.clear()
    write(tmp_path, "a")
    forwarder.wait_read()
    forwarder.flush()
    assert collector.waiting.wait(timeout=20)
    output = forwarder.output()
    assert (output["buffer_queue_length"], output["buffer_total_queued_size"]) == (0, 2)
    collector.hold.set()
    waiting(forwarder.empty, "the buffer is empty")


def test_the_buffer_outlives_a_restart(start_forwarder: Any, collector: Any, tmp_path: Path) -> None:
    first = start_forwarder()
    write(tmp_path, "a")
    first.wait_read()
    write(tmp_path, "b")
    assert first.end() == 0
    assert collector.lines == []
    write(tmp_path, "c")
    second = start_forwarder()
    second.wait_read()
    second.flush_and_wait()
    assert collector.lines == ["a", "b", "c"]


def test_a_hard_kill_loses_nothing(
    start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path
) -> None:
    first = start_forwarder()
    collector.refuse.set()
    write(tmp_path, "a")
    first.wait_read()
    first.flush()
    waiting(lambda: first.output()["retry_count"] >= 1, "it was tried")
    write(tmp_path, "b")
    first.wait_read()
    first.kill()
    collector.refuse.clear()
    second = start_forwarder()
    second.wait_read()
    second.flush_and_wait()
    assert sorted(collector.lines) == ["a", "b"]


def test_a_rotated_log_is_read_to_its_end(start_forwarder: Any, collector: Any, tmp_path: Path) -> None:
    forwarder = start_forwarder()
    write(tmp_path, "a")
    forwarder.wait_read()
    write(tmp_path, "b")
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    write(tmp_path, "c")
    forwarder.wait_read()
    forwarder.flush_and_wait()
    assert collector.lines == ["a", "b", "c"]


def test_a_full_chunk_is_sent_without_a_flush(
    start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path
) -> None:
    start_forwarder(FLUENTD_CHUNK_LIMIT_BYTES="10")
    write(tmp_path, "0123456789")
    waiting(lambda: collector.lines == ["0123456789"], "the full chunk is sent")


def test_sigusr1_flushes_as_well(start_forwarder: Any, waiting: Any, collector: Any, tmp_path: Path) -> None:
    forwarder = start_forwarder()
    write(tmp_path, "a")
    forwarder.wait_read()
    forwarder.signal(signal.SIGUSR1)
    waiting(lambda: collector.lines == ["a"], "the line is sent")


def test_a_wrong_setting_is_named(start_forwarder: Any, capfd: Any) -> None:
    assert start_forwarder(FLUENTD_RPC_PORT="many").process.wait(timeout=20) == 2
    assert "FLUENTD_RPC_PORT is 'many', expected a number" in capfd.readouterr().err
