"""A container finds no way to write to what the engine executes (CVE-2019-5736)."""

from __future__ import annotations

import fcntl
import hashlib
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import attack_image, link
from tests.support.layers import entry

import pyrust_ctr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

# Every process that can be seen, by every name that leads to its executable.
OVERWRITE = (
    "for process in /proc/[0-9]* /proc/self; do "
    '  [ "$(readlink $process/exe 2>/dev/null)" = /bin/busybox ] && continue; '
    "  (echo evil > $process/exe) 2>/dev/null && echo wrote $process; "
    "  for map in $process/map_files/*; do "
    "    (echo evil > $map) 2>/dev/null && echo wrote $map; "
    "  done; "
    "  cat $process/exe > /dev/null 2>&1 && echo read $process $(readlink $process/exe); "
    "done"
)


def _digests() -> dict[str, str]:
    package = Path(pyrust_ctr.__file__).parent
    files = [Path(sys.executable).resolve(), *package.glob("_bin/*"), *package.glob("_core*")]
    files += package.glob("*.py")
    assert len(files) > 3
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    before = _digests()
    yield
    assert _digests() == before


@pytest.mark.parametrize("init", [False, True])
@pytest.mark.parametrize("tty", [False, True])
def test_from_the_first_process(engine: Engine, busybox: str, *, init: bool, tty: bool) -> None:
    container = engine.containers.create(busybox, ["sh", "-c", OVERWRITE], init=init, tty=tty)
    container.start()
    assert container.wait().exit_code in {0, 1}
    assert list(container.logs()) == [], "something was written or read"


def test_the_executable_of_the_runtime_as_entrypoint(engine: Engine) -> None:
    """`/proc/self/exe` as the program: whoever executes it in the container's view runs itself again.

    That is a sealed copy in memory, which does nothing without its supervisor's socket.
    """
    members = [
        link("start", "/proc/self/exe"),
        entry("script", b"#!/proc/self/exe\n", mode=0o755),
        # What a dynamic program would load before its first instruction.
        *(link(name, "/bin/busybox") for name in ("lib64/ld-linux-x86-64.so.2", "lib/ld-musl-x86_64.so.1")),
    ]
    image = attack_image(engine, members)
    for program in ("/proc/self/exe", "/proc/1/exe", "/start", "/script"):
        for init in (False, True):
            try:
                result = engine.run(image, [program, "sh", "-c", OVERWRITE], timeout=10, init=init)
            except pyrust_ctr.errors.Error:
                continue
            assert not result.timed_out
            assert result.stdout == b""


def test_what_runs_is_sealed(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sleep", "60"], init=True)
    container.start()
    pid = container.state.pid
    assert pid
    # F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE
    with open(f"/proc/{pid}/exe", "rb") as executable:
        assert fcntl.fcntl(executable, fcntl.F_GET_SEALS) & 0xF == 0xF
    with pytest.raises(OSError, match=r"busy|permitted"), open(f"/proc/{pid}/exe", "r+b") as executable:
        executable.write(b"evil")


def test_from_the_first_process_while_execs_start(engine: Engine, busybox: str) -> None:
    script = f"while :; do {OVERWRITE}; done"
    container = engine.containers.create(busybox, ["sh", "-c", script])
    container.start()

    def start_some() -> None:
        for _ in range(40):
            container.exec(["true"])

    threads = [threading.Thread(target=start_some) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    container.kill()
    container.wait()
    # Between two looks a process may have become the container's own program.
    shown = b"".join(bytes(line) for line in container.logs())
    assert b"wrote" not in shown
    assert b"memfd" not in shown


def test_an_exec_of_the_runtimes_executable(engine: Engine, busybox: str) -> None:
    container = engine.containers.create(busybox, ["sleep", "60"], init=True)
    container.start()
    result = container.exec(["sh", "-c", OVERWRITE])
    assert result.stdout == b"", result
    with pytest.raises(pyrust_ctr.errors.Error):
        container.exec(["/proc/1/exe", "evil"], check=True, timeout=10)


def test_nothing_of_init_can_be_looked_into(engine: Engine, busybox: str) -> None:
    """Our own process 1 runs outside of the container's files, which lie behind these links."""
    script = (
        "for name in exe cwd root fd/0 ns/mnt mem maps environ auxv; do "
        "  (cat /proc/1/$name || readlink /proc/1/$name) 2>/dev/null | head -c 200; "
        "done; ls /proc/1/fd/ 2>/dev/null | grep '[0-9]'; ls /proc/1/root/ 2>/dev/null; true"
    )
    assert engine.run(busybox, ["sh", "-c", script], init=True).stdout == b""
