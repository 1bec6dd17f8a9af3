"""`pctr exec`."""

from __future__ import annotations

import os
import select
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pyrust_ctr.cli import _complete, _foreground
from pyrust_ctr.cli._lazy import settings
from pyrust_ctr.engine import Engine
from pyrust_ctr.errors import InvalidArgument
from pyrust_ctr.models.environment import parse_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from pyrust_ctr.runtime.interface import StartedExec

_CHUNK: Final = 65536
_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@settings(allow_interspersed_args=False)
def exec_(
    container: Annotated[
        str, typer.Argument(metavar="CONTAINER", autocompletion=_complete.running_containers)
    ],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARG...]")],
    interactive: Annotated[bool, typer.Option("--interactive", "-i", help="Pass standard input on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Run it in the background.")] = False,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME[=VALUE]", help="Set an environment variable."),
    ] = None,
    env_file: Annotated[
        list[str] | None, typer.Option("--env-file", metavar="FILE", help="Read variables from a file.")
    ] = None,
    user: Annotated[
        str, typer.Option("--user", "-u", metavar="USER[:GROUP]", help="User by name or number.")
    ] = "",
    workdir: Annotated[
        str, typer.Option("--workdir", "-w", metavar="DIRECTORY", help="Working directory.")
    ] = "",
    privileged: Annotated[
        bool, typer.Option("--privileged", help="With every capability and without a filter.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="Kill it, with all that it started, after so long."
        ),
    ] = None,
) -> None:
    """Run a command in a running container; the exit status is the command's own."""
    if not detach:
        _foreground.check_terminal(tty=tty, interactive=interactive)
    arguments: dict[str, Any] = {
        "env": [*_entries(env_file or []), *(env or [])],
        "user": user,
        "workdir": workdir,
        "tty": tty,
        "terminal_size": _foreground.terminal_size(),
        "privileged": privileged,
        "timeout": timeout,
    }
    with Engine() as engine:
        found = engine.containers.get(container)
        if detach:
            found.exec_start(command, detach=True, **arguments).close()
            return
        streams: dict[str, Any] = (
            {} if tty else {"stdin": 0 if interactive else None, "stdout": 1, "stderr": 2}
        )
        started = found.exec_start(command, **streams, **arguments)
        try:
            with _forwarded(started.pid):
                if tty:
                    _converse(started, interactive=interactive)
                status = _status(started)
        finally:
            started.close()
    if status:
        raise typer.Exit(status)


def _entries(files: list[str]) -> list[str]:
    entries: list[str] = []
    for name in files:
        try:
            with open(os.path.expanduser(name), encoding="utf-8") as file:
                entries += parse_file(file.read(), name)
        except (OSError, UnicodeDecodeError) as cause:
            raise InvalidArgument(f"cannot read `{name}`: {cause}") from cause
    return entries


def _status(started: StartedExec) -> int:
    poll = select.poll()
    poll.register(started.fileno(), select.POLLIN)
    poll.poll()
    ended = started.wait()
    return 137 if ended is None else ended.exit_code


def _converse(started: StartedExec, *, interactive: bool) -> None:
    """Copies between this terminal and the command's, until the last process that has it is gone."""
    master = started.take_terminal_fd()
    if master is None:
        return
    detach_reader, detach_writer = os.pipe()
    before = signal.signal(signal.SIGWINCH, lambda _number, _frame: _resize(master))
    try:
        with _foreground.raw_terminal(interactive):
            if interactive:
                _foreground.pump_input(os.dup(master), lambda: os.close(detach_writer), watches_keys=True)
            poll = select.poll()
            poll.register(master, select.POLLIN)
            poll.register(detach_reader, select.POLLIN)
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if detach_reader in ready:
                    raise typer.Exit(0)
                data = os.read(master, _CHUNK)
                if not data:
                    return
                _foreground.write_all(1, data)
    except OSError:  # EIO: nobody has the terminal any more
        return
    finally:
        signal.signal(signal.SIGWINCH, before)
        os.close(master)
        os.close(detach_reader)


def _resize(master: int) -> None:
    import termios

    with suppress(OSError):
        termios.tcsetwinsize(master, _foreground.terminal_size())


@contextmanager
def _forwarded(pid: int) -> Iterator[None]:
    """Signals that would end this command go to the one in the container."""
    try:
        process = os.pidfd_open(pid)
    except OSError:  # it ended already
        yield
        return

    def forward(number: int, _frame: FrameType | None) -> None:
        with suppress(OSError):
            signal.pidfd_send_signal(process, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(process)
