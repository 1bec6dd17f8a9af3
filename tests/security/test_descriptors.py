"""Nothing of the machine is open in a container, and no working directory leads to it (CVE-2024-21626)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.security.attacks import attack_image, link

from pyrust_ctr.errors import BadWorkingDirectory, Error, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import CommandLine

    from pyrust_ctr import Container, Engine

pytestmark = pytest.mark.root

LEAKS = [f"/proc/self/fd/{number}" for number in range(3, 24)] + [
    "/proc/self/cwd",
    "/proc/self/cwd/..",
    "/proc/self/fd/8/../../..",
    "/proc/self/root/proc/self/fd/7",
    "/proc/1/cwd",
    "/proc/1/root",
    "/proc/thread-self/fd/9",
    "/dev/fd/6",
    "/dev/fd/10",
]
SHOW = "pwd; ls /proc/self/fd; ls .."


@pytest.fixture
def leaky_caller(canary: Path) -> Iterator[list[int]]:
    """A caller that has a hundred descriptors of directories of the machine open, all of them inheritable."""
    opened = []
    for _ in range(100):
        descriptor = os.open(canary, os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(descriptor, True)
        opened.append(descriptor)
    yield opened
    for descriptor in opened:
        os.close(descriptor)


@pytest.fixture
def container(engine: Engine, busybox: str) -> Container:
    made = engine.containers.create(busybox, ["sleep", "120"])
    made.start()
    return made


def test_descriptors_of_the_caller(engine: Engine, busybox: str, leaky_caller: list[int]) -> None:
    assert len(leaky_caller) == 100
    script = "ls /proc/self/fd; [ $$ = 1 ] || ls /proc/1/fd; sleep 0.1"
    for options in ({}, {"init": True}, {"privileged": True}):
        shown = engine.run(busybox, ["sh", "-c", script], input=b"x", **options).stdout.split()  # type: ignore[arg-type]
        assert set(shown) <= {b"0", b"1", b"2", b"3"}, options
    started = engine.containers.create(busybox, ["sleep", "60"], tty=True, stdin_open=True)
    started.start()
    script = "ls /proc/1/fd; ls /proc/self/fd"
    assert set(started.exec(["sh", "-c", script]).stdout.split()) <= {b"0", b"1", b"2", b"3"}


@pytest.mark.parametrize("init", [False, True])
def test_working_directory_of_an_image(
    engine: Engine, leaky_caller: list[int], canary: Path, *, init: bool
) -> None:
    for number, directory in enumerate(LEAKS):
        image = attack_image(engine, config={"WorkingDir": directory}, name=f"attack:{number}")
        _stays_inside(engine, image, "", canary, init=init)


def test_working_directory_of_a_run(
    engine: Engine, busybox: str, leaky_caller: list[int], canary: Path
) -> None:
    for directory in LEAKS:
        _stays_inside(engine, busybox, directory, canary)


def test_working_directory_through_links(engine: Engine, leaky_caller: list[int], canary: Path) -> None:
    members = [link(f"leak{number}", f"/proc/self/fd/{number}") for number in range(3, 24)]
    members += [link("cwd", "/proc/self/cwd"), link("root", "/proc/1/root")]
    image = attack_image(engine, members)
    for name in [member.name for member, _ in members]:
        _stays_inside(engine, image, f"/{name}", canary)
        _stays_inside(engine, image, f"/{name}/..", canary)


def _stays_inside(engine: Engine, image: str, workdir: str, canary: Path, **options: bool) -> None:
    try:
        result = engine.run(image, ["sh", "-c", SHOW], workdir=workdir, **options)  # type: ignore[arg-type]
    except (BadWorkingDirectory, InvalidArgument) as refusal:
        assert "\n" not in refusal.message
        return
    assert result.stdout.startswith(b"/"), result
    assert b"unreachable" not in result.stdout
    assert str(canary).encode() not in result.stdout
    assert b"precious" not in result.stdout


def test_working_directory_of_an_exec(container: Container, leaky_caller: list[int], canary: Path) -> None:
    for directory in LEAKS:
        try:
            result = container.exec(["sh", "-c", SHOW], workdir=directory)
        except (BadWorkingDirectory, InvalidArgument):
            continue
        assert result.stdout.startswith(b"/"), (directory, result)
        assert b"precious" not in result.stdout
        assert b"unreachable" not in result.stdout


def test_working_directory_of_an_exec_changed_in_a_race(container: Container) -> None:
    """A process of the container swaps the directory for a link to a descriptor, all the time."""
    script = (
        "mkdir /d; while :; do mv /d /e; ln -s /proc/self/fd/9 /d; rm /d; ln -s /proc/1/root /d; "
        "rm /d; mv /e /d; done"
    )
    racer = container.exec(["sh", "-c", f"({script}) >/dev/null 2>&1 & echo begun"])
    assert racer.stdout == b"begun\n"
    for _ in range(100):
        try:
            result = container.exec(["pwd"], workdir="/d")
        except Error:
            continue
        assert result.stdout in {b"/d\n", b"/e\n"}, result


def test_a_working_directory_makes_nothing_on_the_machine(engine: Engine, canary: Path) -> None:
    """A missing directory is made in the container, whatever links lie before it (CVE-2026-55686)."""
    up = "../" * 40
    members = [link("a", f"{up}{str(canary)[1:]}"), link("b", str(canary)), link("c", "/proc/self/cwd")]
    image = attack_image(engine, members)
    for directory in ("/a/made", "/b/made", "/c/made", f"/{up}{canary}/made", "/a/folder/x/y", "/b"):
        try:
            result = engine.run(image, ["sh", "-c", "pwd; touch here; chown 5 ."], workdir=directory)
        except (BadWorkingDirectory, InvalidArgument):
            continue
        assert b"unreachable" not in result.stdout
    # The canary is compared at the end.


# --- streams ------------------------------------------------------------------------------------------------


def test_the_callers_own_streams_are_not_given_away(cli: CommandLine, busybox: str, canary: Path) -> None:
    """A file that the user gave as input could be opened again for writing, through `/proc/self/fd/0`."""
    import subprocess

    script = (
        "for number in 0 1 2; do "
        "  readlink /proc/self/fd/$number >> /links; "
        "  (echo evil > /proc/self/fd/$number) 2>/dev/null; "
        "done; cat /links"
    )
    for command in (
        ["run", "--rm", "-i", busybox, "sh", "-c", script],
        ["run", "--rm", busybox, "sh", "-c", script],
    ):
        output = canary.with_name("output")
        with (canary / "precious").open("rb") as source, output.open("wb") as target:
            subprocess.run(
                [cli.program(), *command],
                stdin=source,
                stdout=target,
                stderr=target,
                env=cli.environment(),
                check=False,
                timeout=60,
            )
        shown = output.read_text()
        assert str(output) not in shown
        assert "precious" not in shown
        assert "pipe:" in shown, shown


def test_the_callers_terminal_is_not_given_away(cli: CommandLine, busybox: str) -> None:
    """A container that had the user's own terminal could type into it (`TIOCSTI`), or read from it."""
    import pty
    import subprocess

    for options in (["-t"], ["-i"], ["-it"], []):
        master, slave = pty.openpty()
        own = os.ttyname(slave)
        process = subprocess.Popen(
            [cli.program(), "run", "--rm", *options, busybox, "sh", "-c", "ls -l /proc/self/fd; tty"],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=cli.environment(),
            start_new_session=True,
        )
        try:
            shown, _ = process.communicate(timeout=30)
        finally:
            process.kill()
            process.wait()
            os.close(slave)
            os.close(master)
        if "-t" not in options and "-it" not in options:
            assert own.encode() not in shown
            assert b"/dev/pts/" not in shown, (options, shown)
        else:
            assert b"/dev/pts/0" in shown, (options, shown)
