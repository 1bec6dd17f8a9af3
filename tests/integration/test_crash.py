"""Whoever is killed with SIGKILL, and whenever: the next comer sees the truth, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.state import has_no_folders

if TYPE_CHECKING:
    from tests.conftest import CommandLine

    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root


def shim_of(engine: Engine, container: Container) -> int:
    """The process that supervises a container."""
    record = json.loads(Path(f"{engine.root}/containers/{container.id}/started.json").read_text())
    return int(record["shim_pid"])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def has_ended(pid: int) -> bool:
    """Whether a killed process is gone; the kernel may take a moment."""
    deadline = time.monotonic() + 5
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def folders(engine: Engine) -> list[str]:
    return os.listdir(f"{engine.root}/containers")


def started(engine: Engine, image: str, **options: object) -> Container:
    container = engine.containers.create(image, ["sh", "-c", "sleep 300 & sleep 300"], **options)  # type: ignore[arg-type]
    container.start()
    return container


def test_a_killed_shim(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox)
    program = container.state.pid
    os.kill(shim_of(engine, container), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while container.status != "exited":
        assert time.monotonic() < deadline
    state = container.state
    assert state.exit_code == 137
    assert state.failure
    assert has_ended(program)
    container.start()
    assert container.state.is_running
    container.remove(force=True)
    assert has_no_folders(engine)


def test_a_killed_shim_of_a_thrown_away_container(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox, auto_remove=True)
    program = container.state.pid
    os.kill(shim_of(engine, container), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while engine.containers.list(all=True):
        assert time.monotonic() < deadline
    assert has_ended(program)
    assert has_no_folders(engine)


def test_a_waiter_learns_of_a_killed_shim(engine: Engine, busybox: str) -> None:
    import threading

    container = started(engine, busybox)
    timer = threading.Timer(0.3, os.kill, (shim_of(engine, container), signal.SIGKILL))
    timer.start()
    ended = container.wait(timeout=20)
    timer.join()
    assert ended.exit_code == 137
    assert ended.failure
    container.remove()


def test_a_killed_program(engine: Engine, busybox: str) -> None:
    container = started(engine, busybox)
    os.kill(container.state.pid, signal.SIGKILL)
    assert container.wait(timeout=10).signal == signal.SIGKILL
    container.remove()


def test_a_container_outlives_who_started_it(cli: CommandLine, engine: Engine, busybox: str) -> None:
    process = subprocess.Popen(
        [cli.program(), "run", "--name", "survivor", busybox, "sh", "-c", "echo up; sleep 1; echo late"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=cli.environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.wait()
    process.stdout.close()
    container = engine.containers.get("survivor")
    assert container.state.is_running
    assert container.wait(timeout=20).exit_code == 0
    assert [line.data for line in container.logs()] == [b"up\n", b"late\n"]
    container.remove()


def test_a_killed_script_takes_its_runs_along(engine: Engine, busybox: str) -> None:
    script = "import sys, pyrust_ctr\npyrust_ctr.Engine(sys.argv[1]).run(sys.argv[2], ['sleep', '300'])\n"
    process = subprocess.Popen([sys.executable, "-c", script, engine.root, busybox])
    deadline = time.monotonic() + 20
    while not [state for _, state in engine.containers.list_with_state() if state.is_running]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    ((_, state),) = engine.containers.list_with_state()
    process.kill()
    process.wait()
    assert engine.containers.list(all=True) == []
    assert has_ended(state.pid)
    assert has_no_folders(engine)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run-rm", "run", "create-rm"])
def test_killed_at_any_moment(cli: CommandLine, engine: Engine, busybox: str, command: str) -> None:
    seed = int.from_bytes(os.urandom(4))
    chance = random.Random(seed)
    script = {
        "run-rm": f"engine.run({busybox!r}, ['true'])",
        "run": f"c = engine.containers.create({busybox!r}, ['true']); c.start(); c.wait(); c.remove()",
        "create-rm": f"engine.containers.create({busybox!r}, ['sleep', '5'], auto_remove=True).start()",
    }[command]
    opening = "import sys, pyrust_ctr\nengine = pyrust_ctr.Engine(sys.argv[1])\nprint(flush=True)\n"
    program = f"{opening}while True: {script}"
    if command == "create-rm":
        program = program.replace("while True: ", "for _ in range(3): ")
    for _ in range(12):
        process = subprocess.Popen([sys.executable, "-c", program, engine.root], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.random() * 0.15)
        process.kill()
        process.wait()
        process.stdout.close()
    # Whatever is there is really there, and goes when it is told to.
    for container, state in engine.containers.list_with_state(all=True):
        assert state.status in {"created", "running", "exited", "removing"}, f"seed {seed}"
        container.remove(force=True)
    assert engine.containers.list(all=True) == []
    deadline = time.monotonic() + 10
    while left := folders(engine):
        # A folder without a row is left alone for a minute; here we know better.
        for name in left:
            os.utime(f"{engine.root}/containers/{name}", (0, 0))
        engine.containers.prune()
        assert time.monotonic() < deadline, f"seed {seed}: {left}"
