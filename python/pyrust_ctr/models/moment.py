"""Points in time as documents have them."""

from __future__ import annotations

import time
from typing import Final

NEVER: Final = "0001-01-01T00:00:00Z"
"""Docker's (Go's) zero time."""


def rfc3339(unix_ns: int) -> str:
    """UTC with nanoseconds; `NEVER` when the time has not come."""
    if unix_ns <= 0:
        return NEVER
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"
