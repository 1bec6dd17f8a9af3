"""`logs`: reads Docker's json-file form, rotated files included, and follows it while the container runs.

The shim renames `container.log` to `.1`, `.1` to `.2` … and begins a new file; the reader holds its file
open, and
knows by its inode how many files were begun since.
"""

from __future__ import annotations

import json
import os
from collections import deque
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final, Self

from pyrust_ctr.errors import InvalidArgument, NotFound, ShimLost, UnsupportedOption
from pyrust_ctr.models.container import LogLine
from pyrust_ctr.models.duration import parse_moment_ns

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow

_POLL_S: Final = 0.05
_STREAMS: Final = frozenset({"stdout", "stderr"})
_LENGTH_OF_SECOND: Final = len("2026-01-31T12:00:00")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which records are wanted."""

    since_ns: int = 0
    until_ns: int | None = None
    streams: frozenset[str] = frozenset({"stdout", "stderr"})

    def accepts(self, line: LogLine) -> bool:
        """Whether the record is wanted."""
        return line.time_ns >= self.since_ns and line.stream in self.streams and not self.is_past(line)

    def is_past(self, line: LogLine) -> bool:
        """Whether the record, and so every later one, is beyond the end."""
        return self.until_ns is not None and line.time_ns > self.until_ns


def logs(
    context: ContainerContext,
    row: ContainerRow,
    *,
    follow: bool = False,
    tail: int | str | None = None,
    since: float | str | None = None,
    until: float | str | None = None,
    stdout: bool = True,
    stderr: bool = True,
    stop: threading.Event | None = None,
) -> Iterator[LogLine]:
    """The container's log, oldest first; with `follow` until the container ends, or `stop` is set."""
    if row.config.log_driver == "none":
        raise UnsupportedOption(
            f"the container `{row.name}` keeps no log: it was made with the log driver `none`"
        )
    wanted = LogFilter(
        since_ns=0 if since is None else parse_moment_ns(since, "`since`"),
        until_ns=None if until is None else parse_moment_ns(until, "`until`"),
        streams=frozenset(name for name, is_on in (("stdout", stdout), ("stderr", stderr)) if is_on),
    )
    count = _count(tail)
    directory = context.directory(row.id)

    def has_ended() -> bool:
        """Waits a moment, or until the container ended."""
        if stop is not None and stop.is_set():
            return True
        if context.runtime.probe_container(directory).state != "running":
            return True
        try:
            context.runtime.wait_container(directory, _POLL_S)
        except (NotFound, ShimLost):
            return True
        return False

    return _lines(LogFiles(context.paths.container_log(row.id)), wanted, count, has_ended if follow else None)


def _lines(
    files: LogFiles,
    wanted: LogFilter,
    tail: int | None,
    has_ended: Callable[[], bool] | None,
) -> Iterator[LogLine]:
    parser = RecordParser()
    with files:
        records: Iterable[bytes] = files.records()
        if tail is not None and wanted == LogFilter():
            # What is not shown need not be understood.
            records = deque(records, maxlen=tail)
        present: Iterable[LogLine] = _wanted(parser, records, wanted)
        if tail is not None:
            present = deque(present, maxlen=tail)
        yield from present
        while has_ended is not None:
            is_last = has_ended()
            for line in parser.lines(files.records()):
                if wanted.is_past(line):
                    return
                if wanted.accepts(line):
                    yield line
            if is_last:
                return


def _wanted(parser: RecordParser, records: Iterable[bytes], wanted: LogFilter) -> Iterator[LogLine]:
    for line in parser.lines(records):
        if wanted.is_past(line):
            return
        if wanted.accepts(line):
            yield line


class LogFiles:
    """A log and its rotated files as one stream of records that can be read further and further."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def records(self) -> Iterator[bytes]:
        """Every complete record that was not read yet, across rotations."""
        if self._file is None and not self._open_oldest():
            return
        while True:
            yield from self._rest_of_file()
            if not self._advance():
                return

    def _rest_of_file(self) -> Iterator[bytes]:
        assert self._file is not None
        while chunk := self._file.readline():
            self._rest += chunk
            if not chunk.endswith(b"\n"):
                return  # half a record: the shim is writing it
            record, self._rest = self._rest, b""
            yield record

    def _open_oldest(self) -> bool:
        # A file may be rotated away between looking and opening: the next older name has it then.
        for path in reversed(self._existing()):
            try:
                self._file = open(path, "rb")  # noqa: SIM115
            except FileNotFoundError:
                continue
            return True
        return False

    def _advance(self) -> bool:
        """Goes to the file that was begun after the present one; False when that is the newest."""
        assert self._file is not None
        inode = os.fstat(self._file.fileno()).st_ino
        newer: Path | None = None
        for path in self._existing():
            try:
                found = os.stat(path).st_ino
            except FileNotFoundError:
                continue
            if found == inode:
                break
            newer = path
        if newer is None:
            return False
        # What was written between the last read and the rotation comes first.
        remainder = self._file.read()
        if remainder:
            self._file.seek(-len(remainder), os.SEEK_CUR)
            return True
        try:
            following = open(newer, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return True
        self._file.close()
        self._file = following
        self._rest = b""
        return True

    def _existing(self) -> list[Path]:
        """The files that may be there, newest first."""
        paths = [self._path]
        number = 1
        while (older := self._path.with_name(f"{self._path.name}.{number}")).exists():
            paths.append(older)
            number += 1
        return paths


class RecordParser:
    """From lines of the file to log lines. Most records of a second are read with one look at a calendar."""

    def __init__(self) -> None:
        self._second = ""
        self._second_ns = 0

    def lines(self, records: Iterable[bytes]) -> Iterator[LogLine]:
        """The records that are whole; those that a power cut damaged are left out."""
        for record in records:
            try:
                document = json.loads(record)
                stream = document["stream"]
                if stream in _STREAMS:
                    yield LogLine(stream, document["log"].encode(), self._time_ns(document["time"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue

    def _time_ns(self, text: str) -> int:
        """RFC 3339 in UTC, as the shim writes it."""
        second, point, fraction = text.partition(".")
        if not point or fraction[-1:] != "Z" or len(second) != _LENGTH_OF_SECOND:
            return parse_moment_ns(text, "the time of a record")
        if second != self._second:
            self._second_ns = parse_moment_ns(f"{second}Z", "the time of a record")
            self._second = second
        return self._second_ns + int(fraction[:-1].ljust(9, "0"))


def _count(tail: int | str | None) -> int | None:
    if tail is None or tail in {"all", -1, "-1"}:
        return None
    if isinstance(tail, str) and tail.isdecimal():
        return int(tail)
    if isinstance(tail, int) and not isinstance(tail, bool) and tail >= 0:
        return tail
    raise InvalidArgument(f"`tail` must be a number of lines or `all`, not `{tail}`")
