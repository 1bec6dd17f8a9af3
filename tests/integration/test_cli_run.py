"""`pctr run`, `start`, `exec`, `logs`, `ps` as a person and as a script uses them, terminals included."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import CommandLine

pytestmark = pytest.mark.root


def running(cli: CommandLine, name: str) -> None:
    """Waits until a container runs."""
    deadline = time.monotonic() + 20
    while cli("ps", "-q", "--filter", f"name=^{name}$").stdout == "":
        assert time.monotonic() < deadline, "it does not run"


# --- in the foreground ----------------------------------------------------------------------------------


def test_streams_and_status_are_the_programs(cli: CommandLine, busybox: str) -> None:
    done = cli("run", "--rm", busybox, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert cli("ps", "-aq").stdout == ""


def test_input_comes_through_a_pipe(cli: CommandLine, busybox: str) -> None:
    text = "line\n" * 100_000
    done = cli("run", "--rm", "-i", busybox, "cat", input=text)
    assert done.stdout == text
    assert cli("run", "--rm", busybox, "cat", input="unseen").stdout == "", "without -i"


def test_much_output_is_whole_and_ordered(cli: CommandLine, busybox: str) -> None:
    done = cli("run", "--rm", busybox, "seq", "1", "100000")
    assert done.stdout == "".join(f"{number}\n" for number in range(1, 100_001))


def test_a_reader_that_leaves_ends_the_command(cli: CommandLine, busybox: str) -> None:
    pipeline = f"{cli.program()} run --rm --name yes {busybox} yes | head -n 1"
    done = subprocess.run(
        ["bash", "-c", pipeline],
        capture_output=True,
        text=True,
        timeout=30,
        env=cli.environment(),
        check=False,
    )
    assert done.stdout == "y\n"
    cli("rm", "-f", "yes")


def test_a_kept_container_is_started_again(cli: CommandLine, busybox: str) -> None:
    cli("run", "--name", "again", busybox, "sh", "-c", "echo x >> /f; cat /f; exit 3")
    done = cli("start", "-a", "again")
    assert (done.returncode, done.stdout) == (3, "x\nx\n")
    assert cli("logs", "again").stdout == "x\nx\nx\n"
    assert cli("rm", "again").stdout == "again\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on(cli: CommandLine, busybox: str, number: int) -> None:
    script = (
        "trap 'echo int; exit 5' INT; trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    )
    process = subprocess.Popen(
        [cli.program(), "run", "--rm", "--name", "sig", busybox, "sh", "-c", script],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=cli.environment(),
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 5
    assert stdout == ("int\n" if number == signal.SIGINT else "term\n")


def test_three_interrupts_end_the_command(cli: CommandLine, busybox: str) -> None:
    process = subprocess.Popen(
        [cli.program(), "run", "--name", "deaf", busybox, "sh", "-c", "trap '' INT; echo up; sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=cli.environment(),
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "forcefully" in stderr
    assert cli("ps", "--format", "{{.Names}}").stdout == "deaf\n", "the container goes on"


def test_start_failures_leave_nothing_with_rm(cli: CommandLine, busybox: str) -> None:
    done = cli("run", "--rm", busybox, "nosuch")
    assert done.returncode == 127
    assert "nosuch" in done.stderr
    assert cli("ps", "-aq").stdout == ""
    assert cli("run", "--name", "kept", busybox, "nosuch").returncode == 127
    assert cli("ps", "-a", "--format", "{{.Names}}").stdout == "kept\n"


# --- in the background ----------------------------------------------------------------------------------


def test_detached(cli: CommandLine, busybox: str) -> None:
    container_id = cli(
        "run", "-d", "--name", "bg", busybox, "sh", "-c", "echo hi; sleep 60", check=True
    ).stdout.strip()
    assert re.fullmatch("[0-9a-f]{64}", container_id)
    assert cli("exec", "bg", "hostname").stdout.strip() == container_id[:12]
    shown = cli("ps").stdout.splitlines()
    assert shown[1].startswith(container_id[:12])
    assert "Up " in shown[1]
    (document,) = json.loads(cli("inspect", container_id[:6]).stdout)
    assert document["State"]["Running"]
    assert cli("logs", "bg").stdout == "hi\n"
    assert cli("stop", "-t", "0", "bg").stdout == "bg\n"
    assert cli("wait", "bg").stdout == "137\n"
    assert cli("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "bg").stdout == "exited 137\n"


def test_following_a_log(cli: CommandLine, busybox: str) -> None:
    cli("run", "-d", "--name", "talk", busybox, "sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done")
    assert cli("logs", "-f", "talk").stdout == "1\n2\n3\n4\n5\n"
    assert cli("logs", "-n", "2", "talk").stdout == "4\n5\n"
    stamped = cli("logs", "-t", "-n", "1", "talk").stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 5\n", stamped)


def test_exec(cli: CommandLine, busybox: str) -> None:
    cli("run", "-d", "--name", "box", "-e", "A=1", busybox, "sleep", "60", check=True)
    done = cli(
        "exec",
        "-i",
        "-e",
        "B=2",
        "-w",
        "/bin",
        "-u",
        "5",
        "box",
        "sh",
        "-c",
        "cat; echo $A$B; pwd; id -u",
        input="in\n",
    )
    assert done.stdout == "in\n12\n/bin\n5\n"
    done = cli("exec", "box", "sh", "-c", "echo err >&2; exit 9")
    assert (done.returncode, done.stderr) == (9, "err\n")
    assert cli("exec", "box", "nosuch").returncode == 127
    assert cli("exec", "box", "/etc/passwd").returncode == 126
    cli("exec", "-d", "box", "sh", "-c", "sleep 0.2; touch /made", check=True)
    deadline = time.monotonic() + 10
    while cli("exec", "box", "ls", "/made").returncode != 0:
        assert time.monotonic() < deadline
    began = time.monotonic()
    assert cli("exec", "--timeout", "0.3", "box", "sleep", "60").returncode == 137
    assert time.monotonic() - began < 10


def test_a_missing_image_is_downloaded(cli: CommandLine, busybox_reference: str) -> None:
    done = cli("run", "--rm", busybox_reference, "echo", "hi")
    assert done.stdout == "hi\n"
    assert f"Unable to find image '{busybox_reference}' locally" in done.stderr
    assert cli("run", "--rm", busybox_reference, "echo", "hi").stderr == ""
    assert cli("run", "--rm", "-q", "--pull", "always", busybox_reference, "true").returncode == 0


def test_hello_world(cli: CommandLine) -> None:
    done = cli("run", "--rm", "hello-world")
    assert done.returncode == 0
    assert len(done.stdout) > 100


# --- terminals ------------------------------------------------------------------------------------------


class Terminal:
    """A person at a terminal with a command in it."""

    def __init__(self, arguments: list[str], env: dict[str, str]) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(arguments[0], arguments, env)
        termios.tcsetwinsize(self.master, (33, 99))
        self.seen = b""

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def expect(self, text: bytes, timeout: float = 20) -> None:
        """Reads until `text` was seen."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, self.seen
            try:
                self.seen += os.read(self.master, 65536)
            except OSError as cause:
                raise AssertionError(self.seen) from cause

    def status(self, timeout: float = 20) -> int:
        deadline = time.monotonic() + timeout
        while True:
            # What is not read could keep the command from ending.
            ready, _, _ = select.select([self.master], [], [], 0.05)
            if ready:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.seen

    def close(self) -> None:
        os.close(self.master)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextmanager
def at_terminal(cli: CommandLine, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal([cli.program(), *arguments], cli.environment() | {"TERM": "xterm"})
    try:
        yield terminal
    finally:
        terminal.close()


# A forked child of a process with threads is fine here: it executes at once.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_shell_at_a_terminal(cli: CommandLine, busybox: str) -> None:
    with at_terminal(cli, "run", "--rm", "-it", "--name", "tty", busybox, "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"stty size\n")
        terminal.expect(b"33 99")
        termios.tcsetwinsize(terminal.master, (44, 111))
        time.sleep(0.5)
        terminal.type(b"stty size\n")
        terminal.expect(b"44 111")
        terminal.type(b"sleep 60\n")
        time.sleep(0.5)
        terminal.type(b"\x03")
        terminal.type(b"echo interr''upted\n")
        terminal.expect(b"interrupted")
        terminal.type(b"exit 6\n")
        assert terminal.status() == 6
    assert cli("ps", "-aq").stdout == ""


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_keys_that_detach(cli: CommandLine, busybox: str) -> None:
    with at_terminal(cli, "run", "-it", "--name", "tty", busybox, "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"\x10\x11")
        assert terminal.status() == 0
    assert cli("ps", "--format", "{{.Names}}").stdout == "tty\n"


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_exec_at_a_terminal(cli: CommandLine, busybox: str) -> None:
    cli("run", "-d", "--name", "box", busybox, "sleep", "60", check=True)
    with at_terminal(cli, "exec", "-it", "box", "sh") as terminal:
        terminal.expect(b"# ")
        terminal.type(b"tty; stty size\n")
        terminal.expect(b"/dev/pts/")
        terminal.expect(b"33 99")
        terminal.type(b"exit 4\n")
        assert terminal.status() == 4


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_terminal_is_restored_when_the_command_is_ended(cli: CommandLine, busybox: str) -> None:
    with at_terminal(cli, "run", "-it", "--name", "tty", busybox, "sh") as terminal:
        before = termios.tcgetattr(terminal.master)
        terminal.expect(b"# ")
        assert termios.tcgetattr(terminal.master) != before
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.status() == 143
        assert termios.tcgetattr(terminal.master) == before


# --- files of ids ---------------------------------------------------------------------------------------


def test_a_file_for_the_id(cli: CommandLine, busybox: str, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    cli("run", "-d", "--cidfile", str(file), busybox, "sleep", "60", check=True)
    assert cli("inspect", "-f", "{{.Id}}", file.read_text()).stdout.strip() == file.read_text()
