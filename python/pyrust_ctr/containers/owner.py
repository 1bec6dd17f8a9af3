"""Processes that own transient containers, named so that a reused process id is not mistaken for them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its id, and when it started (field 22 of `/proc/PID/stat`, clock ticks since boot)."""

    pid: int
    start_time: int

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(pid, _own_start_time(pid))

    def is_alive(self) -> bool:
        """Whether that very process still exists."""
        return start_time(self.pid) == self.start_time


@lru_cache(maxsize=1)
def _own_start_time(pid: int) -> int:
    """Of this process: it does not change, and a fork has another id."""
    return start_time(pid) or 0


def start_time(pid: int) -> int | None:
    """When a process started, clock ticks since boot; None when there is none (or only its zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The name is in parentheses and may contain any character, so count from the last one.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
