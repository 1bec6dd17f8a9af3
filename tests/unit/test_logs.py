"""The log reader: order, rotation, half-written records, following."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pyrust_ctr.containers import logs
from pyrust_ctr.containers.logs import LogFiles, LogFilter, RecordParser
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.container import LogLine

if TYPE_CHECKING:
    from pathlib import Path

BASE = 1_700_000_000


def record(number: int, stream: str = "stdout") -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(BASE + number))
    return json.dumps({"log": f"{number}\n", "stream": stream, "time": f"{moment}.5Z"}) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "container.log"


def rotate(log: Path, kept: int = 9) -> None:
    """What the shim does: `.1` becomes `.2` …, the log becomes `.1`."""
    for number in range(kept, 0, -1):
        old = log.with_name(f"{log.name}.{number}")
        if old.exists():
            old.rename(log.with_name(f"{log.name}.{number + 1}"))
    log.rename(log.with_name(f"{log.name}.1"))


def lines(files: LogFiles) -> list[LogLine]:
    return list(RecordParser().lines(files.records()))


def numbers(found: list[LogLine]) -> list[int]:
    return [int(line.data) for line in found]


def test_rotated_files_come_first(log: Path) -> None:
    for group in range(3):
        log.write_text("".join(record(group * 10 + item) for item in range(10)))
        if group < 2:
            rotate(log)
    with LogFiles(log) as files:
        assert numbers(lines(files)) == list(range(30))


def test_reading_goes_on_where_it_stopped_across_rotations(log: Path) -> None:
    log.write_text(record(0))
    with LogFiles(log) as files:
        assert numbers(lines(files)) == [0]
        assert list(files.records()) == []
        with log.open("a") as file:
            file.write(record(1))
            rotate(log)
            file.write(record(2))
        log.write_text(record(3))
        rotate(log)
        log.write_text(record(4))
        assert numbers(lines(files)) == [1, 2, 3, 4]
        with log.open("a") as file:
            file.write(record(5))
        assert numbers(lines(files)) == [5]


def test_a_log_may_begin_later(log: Path) -> None:
    with LogFiles(log) as files:
        assert list(files.records()) == []
        log.write_text(record(7))
        assert numbers(lines(files)) == [7]


def test_half_a_record_waits_for_its_other_half(log: Path) -> None:
    whole = record(1)
    log.write_text(record(0) + whole[:10])
    with LogFiles(log) as files:
        assert numbers(lines(files)) == [0]
        with log.open("a") as file:
            file.write(whole[10:])
        assert numbers(lines(files)) == [1]


def test_damaged_records_are_left_out(log: Path) -> None:
    log.write_text(record(0) + "{garbage\n" + '{"log": 5}\n' + "\0\0\0\n" + record(1))
    with LogFiles(log) as files:
        assert numbers(lines(files)) == [0, 1]


def test_records() -> None:
    records = [record(3, "stderr"), record(3), record(5)]
    found = list(RecordParser().lines([one.encode() for one in records]))
    assert found[0] == LogLine("stderr", b"3\n", BASE * 10**9 + 3_500_000_000)
    assert [line.time_ns for line in found] == [(BASE + 3) * 10**9 + 500_000_000] * 2 + [
        (BASE + 5) * 10**9 + 500_000_000
    ]
    assert bytes(found[0]) == b"3\n"
    whole = json.dumps({"log": "x", "stream": "stdout", "time": "1970-01-01T00:00:01Z"}).encode()
    offset = json.dumps({"log": "x", "stream": "stdout", "time": "1970-01-01T01:00:01.25+01:00"}).encode()
    assert [line.time_ns for line in RecordParser().lines([whole, offset])] == [10**9, 1_250_000_000]


def read(log: Path, wanted: LogFilter, tail: int | None = None) -> list[int]:
    return numbers(list(logs._lines(LogFiles(log), wanted, tail, None)))


def test_filters_and_tail(log: Path) -> None:
    log.write_text("".join(record(item, "stderr" if item % 2 else "stdout") for item in range(10)))
    assert read(log, LogFilter(), 3) == [7, 8, 9]
    assert read(log, LogFilter(), 0) == []
    assert read(log, LogFilter(since_ns=(BASE + 8) * 10**9)) == [8, 9]
    assert read(log, LogFilter(until_ns=(BASE + 2) * 10**9)) == [0, 1]
    assert read(log, LogFilter(streams=frozenset({"stderr"}))) == [1, 3, 5, 7, 9]
    assert read(log, LogFilter(streams=frozenset({"stdout"})), 2) == [6, 8]


def test_following_sees_everything_once_and_ends(log: Path) -> None:
    is_over = threading.Event()

    def write() -> None:
        for item in range(300):
            with log.open("a") as file:
                file.write(record(item))
            if item % 40 == 39:
                rotate(log)
            time.sleep(0.0005)
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()

    def has_ended() -> bool:
        if is_over.is_set():
            return True
        time.sleep(0.001)
        return False

    found = numbers(list(logs._lines(LogFiles(log), LogFilter(), None, has_ended)))
    writer.join()
    assert found == list(range(300))


@pytest.mark.parametrize(("tail", "count"), [(None, None), ("all", None), (-1, None), ("5", 5), (0, 0)])
def test_tails(tail: int | str | None, count: int | None) -> None:
    assert logs._count(tail) == count


@pytest.mark.parametrize("tail", ["x", -2, True, ""])
def test_wrong_tails_are_refused(tail: int | str) -> None:
    with pytest.raises(InvalidArgument):
        logs._count(tail)
