"""Sizes and times as people read them, in Docker's words."""

from __future__ import annotations

import time
from typing import Final

_DECIMAL: Final = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_MINUTE: Final = 60
_HOUR: Final = 3600


def size(value: int) -> str:
    """`12.3MB`: decimal units, three significant digits."""
    amount = float(value)
    for unit in _DECIMAL:
        if amount < 1000 or unit == _DECIMAL[-1]:
            break
        amount /= 1000
    return f"{amount:.3g}{unit}"


def duration(seconds: float) -> str:
    """`5 seconds`, `About a minute`, `3 hours`, `2 weeks` …"""
    whole = int(seconds)
    hours = round(seconds / _HOUR)
    steps: tuple[tuple[bool, str], ...] = (
        (whole < 1, "Less than a second"),
        (whole == 1, "1 second"),
        (whole < _MINUTE, f"{whole} seconds"),
        (whole // _MINUTE == 1, "About a minute"),
        (whole < _HOUR, f"{whole // _MINUTE} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 7 * 2, f"{hours // 24} days"),
        (hours < 24 * 30 * 2, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 365 * 2, f"{hours // 24 // 30} months"),
    )
    for applies, text in steps:
        if applies:
            return text
    return f"{hours // 24 // 365} years"


def ago(unix_ns: int) -> str:
    """`5 minutes ago`; `N/A` when the time is unknown."""
    if unix_ns <= 0:
        return "N/A"
    return f"{duration(max(0.0, time.time() - unix_ns / 1e9))} ago"


def timestamp(unix_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds; Docker's zero time when unknown."""
    if unix_ns <= 0:
        return "0001-01-01T00:00:00Z"
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def ellipsis(text: str, width: int) -> str:
    """`text` in at most `width` characters, the last of which says that there is more."""
    return text if len(text) <= width else text[: width - 1] + "…"
