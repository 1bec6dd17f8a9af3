"""A process of a container that may trace others gets nothing of the machine from an `exec` that comes in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import INTERPRETER, PRELUDE

if TYPE_CHECKING:
    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

# Looks through every process but itself, and tells of each thing only once.
LOOK = """
import time
own, told = os.stat('/').st_dev, set()
def tell(*words):
    if words not in told:
        told.add(words)
        print(*words, flush=True)
def allowed():
    with open('/proc/self/status') as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith('CapPrm'))
mine, end = allowed(), time.monotonic() + 60
tell('begun')
while time.monotonic() < end:
    for pid in os.listdir('/proc'):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        for link in ('root', 'cwd'):
            try:
                if os.stat(f'/proc/{pid}/{link}/').st_dev != own:
                    tell('foreign', link)
            except OSError:
                pass
        try:
            for number in os.listdir(f'/proc/{pid}/fd'):
                name = os.readlink(f'/proc/{pid}/fd/{number}')
                if not name.startswith(('pipe:', 'socket:', '/dev/null', '/usr/', '/lib', '/etc/ld.so')):
                    tell('descriptor', name)
        except OSError:
            pass
        try:
            with open(f'/proc/{pid}/status') as file:
                for line in file:
                    if line.startswith(('CapEff', 'CapPrm')) and int(line.split()[1], 16) & ~mine:
                        tell(line.strip())
        except OSError:
            pass
"""


@pytest.mark.parametrize("cap_add", [[], ["SYS_PTRACE"]])
def test_nothing_is_seen_of_an_exec_on_its_way_in(engine: Engine, cap_add: list[str]) -> None:
    if INTERPRETER.startswith(("/tmp/", "/run/")):
        pytest.skip("the interpreter lies where the `host` image has directories of its own")
    command = [INTERPRETER, "-I", "-S", "-c", PRELUDE + LOOK]
    container = engine.containers.create("host", command, cap_add=cap_add)
    container.start()
    follower = container.logs(follow=True)
    assert bytes(next(iter(follower))) == b"begun\n"

    def start_some() -> None:
        for _ in range(100):
            container.exec(["true"])

    threads = [threading.Thread(target=start_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [bytes(line) for line in container.logs()] == [b"begun\n"]
    container.remove(force=True)
