"""Durations and points in time in Docker's (Go's) notation."""

from __future__ import annotations

import re
import time
from typing import Final

from pyrust_ctr.errors import InvalidArgument

_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_UNIX: Final = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?", re.ASCII)
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)


def parse_duration_ns(text: str, what: str) -> int:
    """Nanoseconds of `1h30m`, `10s`, `1.5h`, `100ms`; never negative."""
    position = 0
    total = 0.0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        total += float(match[1]) * _UNITS_NS[match[2]]
        position = match.end()
    if not text or position != len(text):
        if text == "0":
            return 0
        raise InvalidArgument(f"{what} must be a duration like `90s` or `1h30m`, not `{text}`")
    return int(total)


def parse_moment_ns(value: float | str, what: str) -> int:
    """Unix nanoseconds of a Unix time (seconds), an RFC 3339 time, or a duration before now."""
    if isinstance(value, int | float):
        return int(value * 1_000_000_000)
    if unix := _UNIX.fullmatch(value):
        return int(unix[1]) * 1_000_000_000 + int((unix[2] or "").ljust(9, "0"))
    if moment := _RFC3339.fullmatch(value):
        return _rfc3339_ns(value, moment, what)
    try:
        return time.time_ns() - parse_duration_ns(value, what)
    except InvalidArgument:
        raise InvalidArgument(
            f"{what} must be a time (`2026-01-31T12:00:00Z`, Unix time) or a duration (`10m`), not `{value}`"
        ) from None


def _rfc3339_ns(text: str, match: re.Match[str], what: str) -> int:
    import calendar

    year, month, day = int(match[1]), int(match[2]), int(match[3])
    hour, minute, second = int(match[4] or 0), int(match[5] or 0), int(match[6] or 0)
    if not (1 <= month <= 12 and 1 <= day <= calendar.monthrange(max(year, 1), month)[1] and year >= 1970):
        raise InvalidArgument(f"{what} is no day of the calendar: `{text}`")
    if hour > 23 or minute > 59 or second > 60:
        raise InvalidArgument(f"{what} is no time of the day: `{text}`")
    fields = (year, month, day, hour, minute, second)
    zone = match[8]
    if zone is None:
        # Docker reads a time without a zone as local time.
        seconds = int(time.mktime((*fields, 0, 0, -1)))
    else:
        seconds = calendar.timegm(fields)
        if zone != "Z":
            sign = 1 if zone[0] == "+" else -1
            seconds -= sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)
    return seconds * 1_000_000_000 + int((match[7] or "").ljust(9, "0"))


def seconds_to_ms(value: float, what: str) -> int:
    """Milliseconds of a positive number of seconds, at least 1."""
    if not 0 < value < 2**32:
        raise InvalidArgument(f"{what} must be a positive number of seconds, not `{value!r}`")
    return max(1, round(value * 1000))
