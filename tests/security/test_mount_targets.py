"""Where mounts land when the image, or another container, decides what lies at their targets.

CVE-2021-30465, CVE-2024-45310, CVE-2025-52881, CVE-2023-27561, CVE-2023-28642.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import INTERPRETER, PRELUDE, attack_image, link, need_x86_64
from tests.support.processes import wait_until

from pyrust_ctr.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrust_ctr import Engine

pytestmark = pytest.mark.root

UP = "../" * 30
KERNEL_FILES = ("/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory")
CHECK = (
    "for file in /proc/sys/kernel/core_pattern /proc/sysrq-trigger; do "
    "  grep -q ' /proc.* proc ' /proc/self/mounts 2>/dev/null || continue; "
    "  [ -e $file ] && (: >> $file) 2>/dev/null && echo opened $file; done; "
    "[ -s /proc/keys ] && grep -q keyring /proc/keys && echo keys; true"
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory to be mounted."""
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "marker").write_text("from the machine\n")
    return directory


@pytest.fixture(autouse=True)
def _host_unchanged(tmp_path: Path) -> Iterator[None]:
    def mounts() -> list[str]:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(tmp_path) in line or line.split()[4].startswith("/evil")]

    before = [Path(path).read_bytes() for path in KERNEL_FILES]
    assert mounts() == []
    yield
    assert mounts() == []
    assert [Path(path).read_bytes() for path in KERNEL_FILES] == before
    assert not [name for name in os.listdir("/") if name.startswith("evil")]


LINKS = [
    "/",
    "..",
    UP,
    "/proc",
    "/proc/self",
    "/proc/self/fd",
    "/proc/sys",
    "/sys/kernel",
    "/dev",
    "/dev/pts",
]
LINKS += ["{canary}", "{up}{canary}", "/proc/1/root", "/proc/self/root", "/proc/self/cwd", "vol", "/etc"]


@pytest.mark.parametrize("kind", ["directory", "file", "tmpfs"])
def test_targets_through_links_of_the_image(engine: Engine, source: Path, canary: Path, kind: str) -> None:
    for number, to in enumerate(LINKS):
        target = to.replace("{up}", UP).replace("{canary}", str(canary))
        image = attack_image(engine, [link("vol", target)], name=f"attack:{number}")
        for path in ("/vol", "/vol/evil", "/vol/evil/deep", "/vol/self/attr", "/vol/folder/evil"):
            options: dict[str, object] = {"tmpfs": [path]}
            if kind != "tmpfs":
                shown = source if kind == "directory" else source / "marker"
                options = {"mounts": [f"type=bind,source={shown},target={path}"]}
            try:
                result = engine.run(image, ["sh", "-c", CHECK], **options)  # type: ignore[arg-type]
            except Error as refusal:
                assert "\n" not in refusal.message
            else:
                assert result.stdout == b"", (to, path, result)


@pytest.mark.parametrize(
    "target",
    [
        "/proc",
        "/proc/self",
        "/proc/self/attr",
        "/proc/self/attr/exec",
        "/proc/sys",
        "/proc/sys/kernel",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/proc/1/attr",
        "/proc/thread-self/attr",
        "/proc/new",
    ],
)
def test_nothing_is_mounted_into_proc(engine: Engine, busybox: str, source: Path, target: str) -> None:
    """What the engine writes there must not land in a file of somebody's making."""
    shown = source / "marker" if target.endswith(("exec", "pattern", "trigger")) else source
    options: tuple[dict[str, object], ...] = (
        {"mounts": [f"type=bind,source={shown},target={target}"]},
        {"volumes": [f"{shown}:{target}"]},
    )
    for option in options:
        with pytest.raises(Error, match="/proc") as refusal:
            engine.run(busybox, ["true"], **option)  # type: ignore[arg-type]
        assert "\n" not in refusal.value.message
        assert engine.containers.list(all=True) == []
    if shown == source:
        with pytest.raises(Error, match="/proc"):
            engine.run(busybox, ["true"], tmpfs=[target])


def test_what_may_be_mounted_into_proc(engine: Engine, busybox: str, source: Path) -> None:
    """Files that only inform, as other programs replace them; and the machine's `/proc` itself."""
    result = engine.run(busybox, ["cat", "/proc/uptime"], volumes=[f"{source}/marker:/proc/uptime"])
    assert result.stdout == b"from the machine\n"
    result = engine.run(busybox, ["sh", "-c", "ls /proc | wc -l; " + CHECK], volumes=["/proc:/proc"])
    assert b"opened" not in result.stdout
    assert b"keys" not in result.stdout


@pytest.mark.parametrize(
    "target", ["/sys", "/sys/kernel", "/sys/fs/cgroup", "/dev", "/dev/null", "/dev/pts", "/dev/shm"]
)
def test_other_targets_of_the_system_are_harmless(
    engine: Engine, busybox: str, source: Path, target: str
) -> None:
    shown = source / "marker" if target == "/dev/null" else source
    script = (
        f"{CHECK}; for file in $(find /sys/fs/cgroup -name devices.allow -o -name release_agent 2>/dev/null)"
    )
    script += "; do (: >> $file) 2>/dev/null && echo opened $file; done; true"
    for options in ({"volumes": [f"{shown}:{target}"]}, {"volumes": [f"{shown}:{target}"], "tty": True}):
        container = engine.containers.create(busybox, ["sh", "-c", script], **options)  # type: ignore[arg-type]
        try:
            container.start()
        except Error as refusal:
            assert "\n" not in refusal.message
        else:
            container.wait()
            assert list(container.logs()) == []
        container.remove(force=True)


def test_the_root_is_no_target(engine: Engine, busybox: str, source: Path) -> None:
    for target in ("/", "//", "/.", "/x/..", "/../.."):
        with pytest.raises(Error, match="target"):
            engine.run(busybox, ["true"], volumes=[f"{source}:{target}"])


# --- races --------------------------------------------------------------------------------------------------

# RENAME_EXCHANGE: the directory and the link change places with nothing in between.
SWAP = "while True: libc.syscall(316, -100, b'/v/x', -100, b'/v/link', 2)"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["/", "{up}", "{canary}", "/proc/self", "/proc/1/root/", "/dev/pts"])
def test_targets_that_are_swapped_meanwhile(
    engine: Engine, busybox: str, source: Path, canary: Path, tmp_path: Path, to: str
) -> None:
    """Another container that shares a volume swaps a directory for a link, as fast as it can."""
    need_x86_64()
    shared = tmp_path / "shared"
    (shared / "x").mkdir(parents=True)
    (shared / "link").symlink_to(to.format(up=UP, canary=canary))
    command = [INTERPRETER, "-I", "-S", "-c", PRELUDE + SWAP]
    racer = engine.containers.create("host", command, volumes=[f"{shared}:/v"])
    racer.start()
    seen = set()

    def is_swapping() -> bool:
        seen.add((shared / "x").is_symlink())
        return seen == {True, False}

    wait_until(is_swapping, "the race")
    outcomes = set()
    for number in range(60):
        options = {
            "volumes": [f"{shared}:/v", f"{source}:/v/x/evil{number % 7}"],
            "mounts": [f"type=bind,source={source}/marker,target=/v/x/deep/evil-file"],
            "tmpfs": ["/v/x/evil-tmpfs"],
            "workdir": "/v/x/evil-made/here",
        }
        try:
            result = engine.run(busybox, ["sh", "-c", f"{CHECK}; pwd; ls /v/x/precious"], **options)  # type: ignore[arg-type]
        except Error:
            outcomes.add("refused")
        else:
            outcomes.add("started")
            assert b"opened" not in result.stdout
            assert b"precious" not in result.stdout
            assert b"unreachable" not in result.stdout
    racer.remove(force=True)
    assert "started" in outcomes
    assert not list(canary.glob("evil*"))
    assert not (canary / "deep").exists()
    assert not list(source.glob("evil*"))
