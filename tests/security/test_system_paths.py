"""Images that hold something else where a container's own `/dev`, `/proc`, `/sys` and files are put.

CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, CVE-2026-47766, CVE-2019-19921.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import Member, attack_image, link
from tests.support.layers import entry

from pyrust_ctr.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

KERNEL_FILES = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory")
FIFO, CHARACTER = tarfile.FIFOTYPE, tarfile.CHRTYPE
UP = "../" * 30

# Prints only what must not be possible or visible; `/dev/null` has to be the device that discards.
CHECK = (
    "for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/modprobe; do "
    "  [ ! -e $file ] || { [ -w $file ] && (: >> $file) 2>/dev/null && echo opened $file; }; "
    "done; "
    "for name in null zero full random urandom tty; do [ -c /dev/$name ] || echo no device $name; done; "
    "grep -q ' /dev tmpfs ' /proc/mounts || echo no /dev; "
    "grep -q ' /proc proc ' /proc/mounts || echo no /proc; "
    "grep -q ' /sys sysfs ro' /proc/mounts || echo no /sys; "
    "[ -s /proc/keys ] && echo keys; [ -s /proc/timer_list ] && echo timers; "
    "ls /precious /*/precious 2>/dev/null; true"
)


@pytest.fixture(autouse=True)
def _kernel_files() -> Iterator[None]:
    before = [Path(path).read_bytes() for path in KERNEL_FILES]
    yield
    assert [Path(path).read_bytes() for path in KERNEL_FILES] == before


def _start(engine: Engine, image: str, *, must_start: bool = False) -> None:
    for tty in (False, True):
        container = engine.containers.create(image, ["sh", "-c", CHECK], tty=tty)
        try:
            container.start()
        except Error as refusal:
            assert not must_start, refusal
            assert "\n" not in refusal.message
        else:
            container.wait()
            assert b"".join(bytes(line) for line in container.logs()) == b""
            # The same for whoever comes later.
        container.remove(force=True)


def _replaced(name: str, canary: Path) -> list[list[Member]]:
    """Everything that an image can hold at a path."""
    return [
        [link(name, "/etc")],
        [link(name, f"{UP}etc")],
        [link(name, str(canary))],
        [link(name, f"{UP}{str(canary)[1:]}")],
        [link(name, "/proc")],
        [link(name, "/proc/self/fd/7")],
        [link(name, "/proc/sys/kernel")],
        [link(name, name.rpartition("/")[2])],
        [entry(name, b"file")],
        [entry(name, kind=FIFO)],
        [entry(name, kind=CHARACTER, device=(1, 3))],
    ]


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_system_directories(engine: Engine, canary: Path, name: str) -> None:
    for number, members in enumerate(_replaced(name, canary)):
        _start(engine, attack_image(engine, members, name=f"attack:{number}"))


@pytest.mark.parametrize(
    "name", ["dev/pts", "dev/shm", "dev/mqueue", "dev/fd", "proc/sys", "proc/self", "sys/fs", "sys/firmware"]
)
def test_what_lies_in_them(engine: Engine, canary: Path, name: str) -> None:
    """The container's own are put over the image's, where nothing of it counts."""
    for number, members in enumerate(_replaced(name, canary)):
        _start(engine, attack_image(engine, members, name=f"attack:{number}"), must_start=True)


@pytest.mark.parametrize("name", ["null", "console", "ptmx", "tty", "pts/0", "pts/ptmx", "zero"])
def test_device_nodes(engine: Engine, canary: Path, name: str) -> None:
    targets = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", str(canary / "precious"), "/nowhere"]
    stacks: list[list[Member]] = [[link(f"dev/{name}", target)] for target in targets]
    stacks += [[entry(f"dev/{name}", b"x")], [entry(f"dev/{name}/")], [entry(f"dev/{name}", kind=FIFO)]]
    for number, members in enumerate(stacks):
        _start(engine, attack_image(engine, members, name=f"attack:{number}"), must_start=True)


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
def test_files_of_the_engines_own(engine: Engine, canary: Path, name: str) -> None:
    """`/etc/hosts` and its like are shown in the container; through links they would be written elsewhere."""
    makers: list[Callable[[], Member]] = [
        lambda: link(f"etc/{name}", str(canary / "precious")),
        lambda: link(f"etc/{name}", str(canary / "new")),
        lambda: link(f"etc/{name}", f"{UP}{str(canary)[1:]}/new"),
        lambda: link(f"etc/{name}", "/proc/sys/kernel/core_pattern"),
        lambda: link(f"etc/{name}", "/proc/self/attr/exec"),
        lambda: link(f"etc/{name}", "/proc/self/fd/5"),
        lambda: link(f"etc/{name}", "/proc/self/oom_score_adj"),
        lambda: link(f"etc/{name}", name),
        lambda: entry(f"etc/{name}/"),
        lambda: entry(f"etc/{name}", kind=FIFO),
        lambda: entry(f"etc/{name}", kind=CHARACTER, device=(10, 229)),
    ]
    for number, make in enumerate(makers):
        _start(engine, attack_image(engine, [make()], name=f"attack:{number}"))


@pytest.mark.parametrize(
    "target", ["/proc/self", "/proc/1", "/proc/sys/kernel", "/dev", "/sys", "{canary}", "{up}"]
)
def test_etc_itself(engine: Engine, canary: Path, target: str) -> None:
    target = target.format(canary=canary, up=f"{UP}{str(canary)[1:]}")
    _start(engine, attack_image(engine, [link("etc", target)]))


def test_a_terminal_is_the_containers_own(engine: Engine, busybox: str) -> None:
    script = (
        "tty; stat -c '%t:%T' /dev/console /dev/pts/0; ls /dev/pts; ls -l /proc/self/fd | grep -v /dev/pts"
    )
    container = engine.containers.create(busybox, ["sh", "-c", script], tty=True)
    container.start()
    container.wait()
    shown = b"".join(bytes(line) for line in container.logs()).decode().split()
    assert shown[0] == "/dev/pts/0"
    assert shown[1] == shown[2], "the console is the terminal"
    assert shown[3:5] == ["0", "ptmx"], "the terminals of nobody else"


def test_nothing_of_the_old_root_is_left(engine: Engine, busybox: str) -> None:
    script = "cat /proc/self/mountinfo; ls -a /; ls -a /.. /../.. /proc/1/root"
    result = engine.run(busybox, ["sh", "-c", script])
    shown = result.stdout.decode()
    assert str(engine.root) not in "".join(line for line in shown.splitlines() if " overlay " not in line), (
        "only the overlay's own options may name directories"
    )
    points = [line.split()[4] for line in shown.splitlines() if " - " in line]
    assert points[0] == "/"
    assert len([point for point in points if point == "/"]) == 1
