"""`exec`: streams, settings, timeouts that kill the whole tree, terminals."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from pyrust_ctr.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerNotRunning,
    ProcessFailed,
    UnknownUser,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root


@pytest.fixture
def container(engine: Engine, busybox: str) -> Iterator[Container]:
    made = engine.containers.create(busybox, ["sleep", "300"], env={"A": "1"}, workdir="/w")
    made.start()
    yield made
    made.remove(force=True)


def test_streams_and_exit_code(container: Container) -> None:
    result = container.exec(["sh", "-c", "cat; echo err >&2; exit 4"], input=b"in")
    assert (result.exit_code, result.stdout, result.stderr) == (4, b"in", b"err\n")
    data = os.urandom(1_000_000)
    assert container.exec(["cat"], input=data).stdout == data
    with pytest.raises(ProcessFailed, match="exit code 4"):
        container.exec(["sh", "-c", "exit 4"], check=True)


def test_it_has_the_containers_settings(container: Container) -> None:
    shown = container.exec(
        ["sh", "-c", "echo $A $B; pwd; id -u; grep CapEff /proc/self/status"], env={"B": "2"}
    )
    lines = shown.stdout.decode().splitlines()
    assert lines[:3] == ["1 2", "/w", "0"]
    assert int(lines[3].split()[1], 16) == 0xA80425FB
    shown = container.exec(["sh", "-c", "pwd; id -u; id -g"], user="5:6", workdir="/bin")
    assert shown.stdout == b"/bin\n5\n6\n"


def test_it_is_in_the_containers_namespaces(container: Container) -> None:
    for name in ("net", "uts", "ipc", "pid", "mnt"):
        own = container.exec(["readlink", f"/proc/self/ns/{name}"]).stdout
        assert own == container.exec(["readlink", f"/proc/1/ns/{name}"]).stdout
        assert own.decode().strip() != os.readlink(f"/proc/self/ns/{name}")
    assert container.exec(["ls", "/proc/self/fd"]).stdout.split() == [b"0", b"1", b"2", b"3"]


def test_a_timeout_kills_the_whole_tree(container: Container) -> None:
    script = "(setsid sleep 222 &); sleep 222 & echo begun; sleep 222"
    began = time.monotonic()
    result = container.exec(["sh", "-c", script], timeout=0.5)
    assert time.monotonic() - began < 10
    assert result.timed_out
    assert result.exit_code == 137
    assert result.stdout == b"begun\n"
    deadline = time.monotonic() + 5
    while b"sleep 222" in container.exec(["ps"]).stdout:
        assert time.monotonic() < deadline, "a process outlived the timeout"
        time.sleep(0.05)
    assert container.state.is_running, "the container itself goes on"


def test_what_cannot_be_run(container: Container) -> None:
    with pytest.raises(CommandNotFound):
        container.exec(["nosuch"])
    with pytest.raises(CommandNotExecutable):
        container.exec(["/etc/passwd"])
    for user in ("nosuch", "0x0", "+1", "4294967296", "-1", " 1"):
        with pytest.raises(UnknownUser):
            container.exec(["true"], user=user)


def test_a_terminal(container: Container) -> None:
    result = container.exec(["sh", "-c", "tty; stty size; echo typed: $(cat)"], tty=True, input=b"words\n")
    text = result.stdout.decode()
    assert "/dev/pts/" in text
    assert "24 80" in text
    assert "typed: words" in text
    assert result.exit_code == 0


def test_many_at_once(container: Container) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda number: container.exec(["sh", "-c", f"exit {number}"]).exit_code, range(32))
        assert list(results) == list(range(32))


def test_only_in_a_running_container(engine: Engine, busybox: str) -> None:
    created = engine.containers.create(busybox, ["sleep", "60"])
    with pytest.raises(ContainerNotRunning, match="is not running"):
        created.exec(["true"])
    created.start()
    created.stop(timeout=0)
    with pytest.raises(ContainerNotRunning):
        created.exec(["true"])
    created.remove()


def test_the_container_ends_meanwhile(container: Container) -> None:
    import threading

    timer = threading.Timer(0.3, container.kill)
    timer.start()
    result = container.exec(["sleep", "60"])
    timer.join()
    assert result.exit_code == 137
