"""Runs keep a started shim in reserve: nobody notices but by the clock."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root


def _shims() -> set[int]:
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{name}/exe").startswith("/memfd:pyrust-ctr"):
                found.add(int(name))
        except OSError:
            continue
    return found


def _idle(before: set[int]) -> set[int]:
    """The shims that are there when every container has ended."""
    deadline = time.monotonic() + 5
    while len(found := _shims() - before) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


def test_a_second_run_keeps_one_and_closing_ends_it(engine: Engine) -> None:
    before = _shims()
    assert engine.run("hello-world").exit_code == 0
    deadline = time.monotonic() + 5
    while _shims() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _shims() - before
    for _ in range(5):
        assert engine.run("hello-world").exit_code == 0
    assert len(_idle(before)) == 1
    engine.close()
    deadline = time.monotonic() + 5
    while _shims() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _shims() - before


def test_a_killed_one_is_replaced(engine: Engine) -> None:
    before = _shims()
    for _ in range(3):
        engine.run("hello-world")
    for _ in range(3):
        (spare,) = _idle(before)
        os.kill(spare, signal.SIGKILL)
        while spare in _shims():  # dying takes a moment
            time.sleep(0.001)
        assert engine.run("hello-world").exit_code == 0


FORKS = """
import os, sys, pyrust_ctr

engine = pyrust_ctr.Engine(root=sys.argv[1])
for _ in range(3):
    engine.run("hello-world")
child = os.fork()
for number in range(5):
    assert engine.run("host", ["echo", str(number)]).stdout == b"%d\\n" % number
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
engine.close()
"""


def test_a_forked_process_does_not_share_it(state_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(state_dir)], timeout=60, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
