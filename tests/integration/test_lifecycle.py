"""Containers that are created, started, stopped, logged, waited for, inspected and removed."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.state import has_no_folders

from pyrust_ctr.errors import (
    CommandNotFound,
    ContainerNotFound,
    ContainerNotRunning,
    ContainerRunning,
    ImageInUse,
)

if TYPE_CHECKING:
    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root


def started(engine: Engine, image: str, command: list[str], **options: object) -> Container:
    container = engine.containers.create(image, command, **options)  # type: ignore[arg-type]
    container.start()
    return container


def test_from_beginning_to_end(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sleep", "100"], name="x", labels={"a": "b"})
    assert container.status == "created"
    container.start()
    state = container.state
    assert state.is_running
    assert os.path.exists(f"/proc/{state.pid}")
    assert abs(state.started_at_ns / 1e9 - time.time()) < 60
    assert engine.containers.list() == [container]
    container.stop(timeout=0.2)
    state = container.state
    assert (state.status, state.exit_code) == ("exited", 137)
    assert state.finished_at_ns >= state.started_at_ns > 0
    assert container.wait().exit_code == 137
    assert engine.containers.list() == []
    with pytest.raises(ImageInUse):
        engine.images.remove(busybox)
    container.remove()
    with pytest.raises(ContainerNotFound):
        engine.containers.get("x")
    assert has_no_folders(engine)


def test_the_stop_signal_is_asked_for_first(engine: Engine, busybox: str) -> None:
    script = (
        "trap 'echo bye; exit 5' TERM; trap 'echo usr; exit 6' USR1; echo up; while :; do sleep 0.05; done"
    )
    polite = started(engine, busybox, ["sh", "-c", script])
    _until_logged(polite, b"up\n")
    polite.stop(timeout=10)
    assert polite.wait().exit_code == 5
    assert [line.data for line in polite.logs()] == [b"up\n", b"bye\n"]
    other = started(engine, busybox, ["sh", "-c", script], stop_signal="USR1")
    _until_logged(other, b"up\n")
    other.stop(timeout=10)
    assert other.wait().exit_code == 6
    other.remove()
    polite.remove()


def test_signals(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sleep", "60"], init=True)
    container.kill("TERM")
    ended = container.wait(timeout=10)
    assert (ended.exit_code, ended.signal) in {(143, signal.SIGTERM), (143, None)}
    with pytest.raises(ContainerNotRunning, match="is not running"):
        container.kill()
    container.stop()
    container.remove()


def test_a_restart_goes_on_with_its_files_and_log(engine: Engine, busybox: str) -> None:
    script = "echo x >> /count; wc -l < /count"
    container = started(engine, busybox, ["sh", "-c", script])
    assert container.wait(timeout=10).exit_code == 0
    container.start()
    container.wait(timeout=10)
    assert [line.data for line in container.logs()] == [b"1\n", b"2\n"]
    container.remove()


def test_starting_twice(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sleep", "60"])
    container.start()
    with pytest.raises(ContainerRunning):
        container.start_attached()
    with pytest.raises(ContainerRunning, match="You cannot remove a running container"):
        container.remove()
    container.remove(force=True)


def test_a_container_that_cannot_start_stays(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["nosuch"])
    for _ in range(2):
        with pytest.raises(CommandNotFound, match="nosuch"):
            container.start()
    assert container.status in {"created", "exited"}
    container.remove()


def test_a_thrown_away_container(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sleep", "0.2"], auto_remove=True, name="brief")
    assert container.wait(timeout=10).exit_code == 0
    deadline = time.monotonic() + 5
    while engine.containers.list(all=True):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert has_no_folders(engine)
    engine.containers.create(busybox, ["true"], name="brief").remove()


# --- logs -----------------------------------------------------------------------------------------------


def _until_logged(container: Container, data: bytes) -> None:
    deadline = time.monotonic() + 10
    while data not in [line.data for line in container.logs()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_logs_of_both_streams(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sh", "-c", "echo 1; sleep 0.1; echo 2 >&2; sleep 0.1; echo 3"])
    container.wait(timeout=10)
    assert [(line.stream, line.data) for line in container.logs()] == [
        ("stdout", b"1\n"),
        ("stderr", b"2\n"),
        ("stdout", b"3\n"),
    ]
    assert [line.data for line in container.logs(tail=1)] == [b"3\n"]
    assert [line.data for line in container.logs(stdout=False)] == [b"2\n"]
    times = [line.time_ns for line in container.logs()]
    assert times == sorted(times)
    assert [line.data for line in container.logs(since=times[1] / 1e9 + 0.01)] == [b"3\n"]
    container.remove()


def test_following_ends_with_the_container(engine: Engine, busybox: str) -> None:
    script = "i=0; while [ $i -lt 20 ]; do echo $i; i=$((i+1)); sleep 0.02; done"
    container = started(engine, busybox, ["sh", "-c", script])
    assert [int(line.data) for line in container.logs(follow=True)] == list(range(20))
    container.remove()


def test_rotation_loses_only_the_oldest(engine: Engine, busybox: str) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    container = started(engine, busybox, ["sh", "-c", script], log_opts={"max-size": "16k", "max-file": "3"})
    container.wait(timeout=30)
    kept = [int(line.data.split()[1]) for line in container.logs()]
    assert kept == list(range(kept[0], 3000))
    assert 100 < len(kept) < 2000
    folder = f"{engine.root}/containers/{container.id}"
    sizes = [os.path.getsize(f"{folder}/{name}") for name in os.listdir(folder) if "container.log" in name]
    assert len(sizes) == 3
    assert max(sizes) <= 16 << 10
    container.remove()


def test_no_log_when_none_is_wanted(engine: Engine, busybox: str) -> None:
    from pyrust_ctr.errors import UnsupportedOption

    container = started(engine, busybox, ["echo", "x"], log_driver="none")
    container.wait(timeout=10)
    with pytest.raises(UnsupportedOption, match="keeps no log"):
        container.logs()
    container.remove()


# --- attached -------------------------------------------------------------------------------------------


def test_the_first_byte_is_seen(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(
        busybox, ["sh", "-c", "echo first; cat"], stdin_open=True, stdin_once=True
    )
    reader, writer = os.pipe()
    session = container.start_attached(stdout=writer, stdin=True)
    os.close(writer)
    stdin_fd = session.take_stdin_fd()
    assert stdin_fd is not None
    assert session.take_stdin_fd() is None
    os.write(stdin_fd, b"typed\n")
    os.close(stdin_fd)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read() == b"first\ntyped\n"
    record = session.wait(10)
    assert record is not None
    assert record.exit_code == 0
    session.close()
    container.remove()


def test_a_late_client(engine: Engine, busybox: str) -> None:
    script = "while read line; do echo got $line; done"
    container = started(engine, busybox, ["sh", "-c", script], stdin_open=True)
    reader, writer = os.pipe()
    attachment = container.attach(stdout=writer, stdin=True)
    os.close(writer)
    stdin_fd = attachment.take_stdin_fd()
    assert stdin_fd is not None
    os.write(stdin_fd, b"a\n")
    with os.fdopen(reader, "rb") as stream:
        assert stream.readline() == b"got a\n"
        os.close(stdin_fd)
        attachment.close()
    container.remove(force=True)


def test_a_terminal_that_changes_its_size(engine: Engine, busybox: str) -> None:
    script = "stty size; read x; stty size; read y"
    container = engine.containers.create(busybox, ["sh", "-c", script], tty=True, stdin_open=True)
    reader, writer = os.pipe()
    session = container.start_attached(stdout=writer, stdin=True)
    os.close(writer)
    terminal = session.take_stdin_fd()
    assert terminal is not None
    with os.fdopen(reader, "rb", buffering=0) as stream:
        assert b"24 80" in _until(stream.fileno(), b"24 80")
        container.resize(50, 132)
        os.write(terminal, b"\n")
        assert b"50 132" in _until(stream.fileno(), b"50 132")
        os.write(terminal, b"\n")
    os.close(terminal)
    assert session.wait(10) is not None
    session.close()
    container.remove(force=True)


def _until(fd: int, expected: bytes) -> bytes:
    data = b""
    while expected not in data:
        chunk = os.read(fd, 4096)
        assert chunk, data
        data += chunk
    return data


# --- inspect, races -------------------------------------------------------------------------------------


def test_inspect_tells_an_oom_kill(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sh", "-c", "head -c 100m /dev/zero | tail"], memory="16m")
    container.wait(timeout=30)
    document = container.inspect()
    assert document["State"]["OOMKilled"]
    assert document["State"]["Status"] == "exited"
    assert document["HostConfig"]["Memory"] == 16 << 20
    container.remove()


def test_containers_of_one_network_name_their_processes_anew(engine: Engine, busybox: str) -> None:
    first = started(engine, busybox, ["sleep", "60"], name="first", hostname="shared")
    second = engine.containers.create(busybox, ["sh", "-c", "hostname; sleep 60"], network="container:first")
    second.start()
    assert second.exec(["hostname"]).stdout == b"shared\n"
    second.stop(timeout=0)
    first.stop(timeout=0)
    with pytest.raises(ContainerNotRunning, match="cannot join the network namespace"):
        second.start()
    first.start()
    second.start()
    there = first.exec(["readlink", "/proc/1/ns/net"]).stdout
    assert second.exec(["readlink", "/proc/1/ns/net"]).stdout == there
    second.remove(force=True)
    first.remove(force=True)


def test_everybody_may_remove_at_once(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, ["sleep", "60"])
    failures: list[BaseException] = []

    def work() -> None:
        try:
            container.remove(force=True)
        except ContainerNotFound:
            pass
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert engine.containers.list(all=True) == []
    assert has_no_folders(engine)


def test_prune(engine: Engine, busybox: str) -> None:
    running = started(engine, busybox, ["sleep", "60"])
    ended = [started(engine, busybox, ["true"]) for _ in range(3)]
    for container in ended:
        container.wait(timeout=10)
    removed = engine.containers.prune().containers
    assert set(removed) == {container.id for container in ended}
    assert engine.containers.list(all=True) == [running]
    running.remove(force=True)
