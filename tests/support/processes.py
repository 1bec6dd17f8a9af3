"""Starting and ending servers of the tests' own, by their process objects only."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SBIN = ":/usr/sbin:/sbin"


def find_program(name: str) -> str | None:
    """The path of a program, the folders of administrators included."""
    import os

    return shutil.which(name, path=os.environ.get("PATH", "/usr/bin:/bin") + SBIN)


def need_program(name: str) -> str:
    """The path of a program; the test is skipped when it is not installed."""
    path = find_program(name)
    if path is None:
        pytest.skip(f"`{name}` is not installed")
    return path


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Returns when `condition` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s} s")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that the caller started, and collects it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
