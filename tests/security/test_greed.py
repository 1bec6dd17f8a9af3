"""Containers that take all they can get, or do not want to end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import INTERPRETER, PRELUDE
from tests.support.processes import wait_until

from pyrust_ctr.errors import Error, LimitRefused

if TYPE_CHECKING:
    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root

# Each holds on to what it got.
BOMB = "bomb() { bomb | bomb & }; bomb; sleep 100"


def _ends(container: Container) -> None:
    began = time.monotonic()
    container.remove(force=True)
    assert time.monotonic() - began < 15


def test_fork_bomb(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sh", "-c", BOMB], pids_limit=64)
    container.start()
    time.sleep(0.5)
    counts = {int(path.read_text()) for path in _files(container, "pids.current")}
    assert counts
    assert max(counts) <= 64
    # No process can be made: an exec says so, and the container goes on and ends as ever.
    try:
        container.exec(["true"], timeout=5)
    except Error as refusal:
        assert "\n" not in refusal.message
    _ends(container)


def _files(container: Container, name: str) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    return [path for pattern in ("", "*/") for path in top.glob(f"{pattern}pyrust-ctr-{container.id}/{name}")]


def test_fork_bomb_of_an_exec_with_a_timeout(engine: Engine, busybox: str) -> None:
    # With an init that reaps: the killed ones are its children now, and count until then.
    container = engine.containers.create(busybox, ["sleep", "100"], pids_limit=64, init=True)
    container.start()
    result = container.exec(["sh", "-c", f"{BOMB} >/dev/null 2>&1"], timeout=1)
    assert result.timed_out
    assert _first_words(container) == b"alive\n"
    _ends(container)


def test_fork_bomb_of_an_exec_beneath_a_program_that_does_not_reap(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sleep", "100"], pids_limit=64)
    container.start()
    assert container.exec(["sh", "-c", f"{BOMB} >/dev/null 2>&1"], timeout=1).timed_out
    # The dead still count, and an exec has room or says what is in its way.
    try:
        assert container.exec(["echo", "alive"]).stdout == b"alive\n"
    except LimitRefused as refusal:
        assert "limit of processes" in refusal.message
    _ends(container)


def _first_words(container: Container) -> bytes:
    """As soon as the limit of processes leaves room for an exec again."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return container.exec(["echo", "alive"]).stdout
        except LimitRefused:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("way", ["heap", "tmpfs", "shm"])
def test_memory(engine: Engine, busybox: str, way: str) -> None:
    scripts = {
        "heap": "tail /dev/zero",
        "tmpfs": "cat /dev/zero > /t/file",
        "shm": "cat /dev/zero > /dev/shm/file",
    }
    options = {"memory": "24m", "tmpfs": ["/t"], "shm_size": "1g", "timeout": 60}
    result = engine.run(busybox, ["sh", "-c", f"{scripts[way]}; sleep 0"], **options)  # type: ignore[arg-type]
    assert result.oom_killed or result.exit_code != 0
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes <= 24 << 20
    assert not result.timed_out


def test_shared_memory_has_a_size(engine: Engine, busybox: str) -> None:
    result = engine.run(busybox, ["sh", "-c", "cat /dev/zero > /dev/shm/file"], shm_size="1m", timeout=30)
    assert b"No space left" in result.stderr


# --- the log ------------------------------------------------------------------------------------------------


def test_a_log_does_not_fill_the_disk(engine: Engine, busybox: str) -> None:
    options = {"log_opts": {"max-size": "200k", "max-file": "2"}}
    # Lines, no line ends at all, and bytes that grow sixfold in JSON.
    scripts = ["yes", "cat /dev/zero", "yes | tr '\\n' ' '", "yes \"$(printf '\\001\\002')\""]
    for script in scripts:
        container = engine.containers.create(busybox, ["sh", "-c", f"{script} | head -c 4000000"], **options)  # type: ignore[arg-type]
        container.start()
        container.wait()
        directory = Path(engine.root) / "containers" / container.id
        sizes = {path.name: path.stat().st_size for path in directory.iterdir() if ".log" in path.name}
        assert 1 <= len(sizes) <= 2, sizes
        assert max(sizes.values()) <= 300_000, sizes
        container.remove()


def test_a_log_says_what_was_written(engine: Engine, busybox: str) -> None:
    """Lines that look like records, line ends of other systems, escape sequences, bytes that are no text."""
    evil = b'{"log":"forged\\n","stream":"stderr","time":"2020-01-01T00:00:00Z"}\r\n'
    evil += b'"\\\x1b]0;x\x07\xff\xfe\x00\xc2\xa8\n'
    printf = "".join(f"\\{byte:03o}" for byte in evil)
    container = engine.containers.create(busybox, ["printf", printf])
    container.start()
    container.wait()
    lines = list(container.logs())
    assert {line.stream for line in lines} == {"stdout"}
    assert len(lines) == evil.count(b"\n")
    assert b"".join(bytes(line) for line in lines).startswith(evil[:60])
    log = Path(engine.root) / "containers" / container.id / "container.log"
    for record in log.read_bytes().splitlines():
        assert set(json.loads(record)) == {"log", "stream", "time"}
        assert b"\x1b" not in record


# --- not ending ---------------------------------------------------------------------------------------------


def test_stopping_every_exec(engine: Engine, busybox: str) -> None:
    """Who is just coming in can be stopped by those who are there; that must hold nobody else up."""
    container = engine.containers.create(busybox, ["sh", "-c", "while :; do kill -STOP -1; done"])
    container.start()

    def try_one() -> None:
        try:
            container.exec(["true"])
        except Error:
            pass

    threads = [threading.Thread(target=try_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    _ends(container)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_killing_every_exec(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sh", "-c", "while :; do kill -KILL -1; done"])
    container.start()
    for _ in range(20):
        try:
            assert container.exec(["true"], timeout=5).exit_code in {0, 137}
        except Error as refusal:
            assert "\n" not in refusal.message
    assert container.state.is_running
    _ends(container)


def test_ignoring_every_signal(engine: Engine, busybox: str) -> None:
    script = "trap '' TERM INT HUP QUIT; (trap '' TERM; setsid sleep 100 &); while :; do sleep 1; done"
    container = engine.containers.create(busybox, ["sh", "-c", script])
    container.start()
    container.stop(timeout=0.2)
    assert container.state.exit_code == 137


def test_outliving_the_supervisor(engine: Engine) -> None:
    """A program may take back the wish to die with its supervisor; the next comer ends it."""
    code = "libc.prctl(1, 0, 0, 0, 0)\nimport time\nprint('free', flush=True)\ntime.sleep(300)"
    container = engine.containers.create("host", [INTERPRETER, "-I", "-S", "-c", PRELUDE + code])
    container.start()
    wait_until(lambda: any(bytes(line) == b"free\n" for line in container.logs()), "the program")
    pid = container.state.pid
    assert pid
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert os.readlink(f"/proc/{supervisor}/exe").startswith("/memfd:pyrust-ctr")
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not container.state.is_running, "the truth about the container")
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the program")
    assert container.state.exit_code == 137
    container.remove()


def test_escaping_the_groups(engine: Engine, busybox: str) -> None:
    """Processes that detach in every way are in the container's groups, and end with it."""
    script = "(setsid sleep 7001 & setsid sh -c 'sleep 7002 & sleep 7003' &); nohup sleep 7004 & "
    script += "sleep 0.2; echo up; sleep 300"
    container = engine.containers.create(busybox, ["sh", "-c", script], pid="host")
    container.start()
    wait_until(lambda: any(bytes(line) == b"up\n" for line in container.logs()), "the processes")
    container.kill()
    container.wait()
    wait_until(lambda: not _sleepers(), "the end of all of them")


def _sleepers() -> list[str]:
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if b"sleep\x00700" in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(name)
        except OSError:
            continue
    return found
