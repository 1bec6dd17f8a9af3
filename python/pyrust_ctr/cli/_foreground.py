"""A container in the foreground: its output arrives by itself (the shim writes it), the rest is done here.

Standard input is pumped by a thread, signals are passed on, the terminal is put into raw mode and restored.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from pyrust_ctr.cli import _output
from pyrust_ctr.errors import Error, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from pyrust_ctr.containers.container import Container
    from pyrust_ctr.runtime.interface import StartedContainer

_CHUNK: Final = 65536
_DETACH_KEYS: Final = b"\x10\x11"
"""Ctrl-P Ctrl-Q."""
_FORWARDED: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
_PATIENCE: Final = 3
"""So many SIGINTs or SIGTERMs end the command, when they do not end the program."""
_LAST_WORDS_S: Final = 10.0
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE


def check_terminal(*, tty: bool, interactive: bool) -> None:
    """A terminal for the program needs one here."""
    if tty and interactive and not os.isatty(0):
        raise InvalidArgument(
            "the input device is not a TTY", hint="Leave out `-t` when input comes from a pipe."
        )


def terminal_size() -> tuple[int, int]:
    """Rows and columns of this terminal, 24 by 80 when there is none."""
    for fd in (0, 1, 2):
        with suppress(OSError):
            size = os.get_terminal_size(fd)
            if size.lines and size.columns:
                return size.lines, size.columns
    return 24, 80


def run_in_foreground(
    container: Container, *, tty: bool, interactive: bool, passes_signals: bool, ends_with_reader: bool
) -> int | None:
    """Starts a container and stays with it until it ends; its exit code, or None when the user detached.

    Signals and the terminal are taken over before the start, so that nothing that comes early is lost. When
    nobody reads the output any more this command ends, and with `ends_with_reader` the container, too.
    """
    detach_reader, detach_writer = os.pipe()
    try:
        with _Signals(container, tty=tty, passes_signals=passes_signals) as signals:
            with raw_terminal(tty and interactive):
                session = container.start_attached(stdout=1, stderr=None if tty else 2, stdin=interactive)
                try:
                    for warning in session.warnings:
                        _output.warn(warning)
                    signals.deliver()
                    stdin_fd = session.take_stdin_fd() if interactive else None
                    if stdin_fd is not None:
                        pump_input(stdin_fd, lambda: os.close(detach_writer), watches_keys=tty)
                    return _exit_code(container, session, detach_reader, ends_with_reader=ends_with_reader)
                finally:
                    session.close()
    finally:
        os.close(detach_reader)


def _exit_code(
    container: Container, session: StartedContainer, detach_reader: int, *, ends_with_reader: bool
) -> int | None:
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    poll.register(detach_reader, select.POLLIN)
    # No events: what is always told is that the other end of a pipe is gone.
    poll.register(1, 0)
    ready = {fd for fd, _ in poll.poll()}
    if session.fileno() in ready:
        record = session.wait(_LAST_WORDS_S)
        if record is None:
            return None
        if record.failure:
            _output.note(record.failure)
        return record.exit_code
    if detach_reader in ready:
        return None
    if ends_with_reader:
        with suppress(Error):
            container.remove(force=True)
    return _BROKEN_PIPE


def pump_input(target: int, detach: Callable[[], None], *, watches_keys: bool) -> None:
    """Copies standard input to `target` on a thread of its own, and closes it at the end of input."""

    def pump() -> None:
        held = b""
        try:
            while data := os.read(0, _CHUNK):
                if watches_keys:
                    data, held, is_detached = find_detach(held + data)
                    if is_detached:
                        detach()
                        return
                write_all(target, data)
        except OSError:
            pass  # the program closed its input, or ours is gone
        finally:
            os.close(target)

    threading.Thread(target=pump, name="pctr-stdin", daemon=True).start()


def find_detach(data: bytes) -> tuple[bytes, bytes, bool]:
    """What to send, what to hold back (a Ctrl-P that may be the beginning), and whether the keys were
    struck.
    """
    position = data.find(_DETACH_KEYS)
    if position >= 0:
        return data[:position], b"", True
    if data.endswith(_DETACH_KEYS[:1]):
        return data[:-1], data[-1:], False
    return data, b"", False


def write_all(fd: int, data: bytes) -> None:
    """Writes everything."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def raw_terminal(is_wanted: bool) -> Iterator[None]:
    """This terminal passes every key on; restored whatever happens."""
    if not is_wanted:
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        tty.setraw(0, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class _Signals:
    """Meanwhile, signals go to the program; those that come before it runs wait for it."""

    def __init__(self, container: Container, *, tty: bool, passes_signals: bool) -> None:
        self._container = container
        self._pending: list[int] | None = []
        self._received = 0
        self._handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {}
        if tty:
            self._handlers = {
                signal.SIGWINCH: self._resize,
                signal.SIGTERM: _leave,
                signal.SIGHUP: _leave,
            }
        elif passes_signals:
            self._handlers = dict.fromkeys(_FORWARDED, self._forward)
        self._has_terminal = tty
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number, handler in self._handlers.items():
            self._before[number] = signal.signal(number, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def deliver(self) -> None:
        """The program runs: passes on what came before."""
        pending, self._pending = self._pending or [], None
        if self._has_terminal:
            _resize(self._container)
        for number in pending:
            self._send(number)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self._received += number in {signal.SIGINT, signal.SIGTERM}
        if self._received >= _PATIENCE:
            _output.note(f"got {_PATIENCE} SIGTERM/SIGINTs, forcefully exiting")
            raise KeyboardInterrupt
        if self._pending is not None:
            self._pending.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        with suppress(Error):
            self._container.kill(number)

    def _resize(self, _number: int, _frame: FrameType | None) -> None:
        if self._pending is None:
            _resize(self._container)


def _leave(number: int, _frame: FrameType | None) -> None:
    # Raised, not ended here: the terminal is restored on the way out.
    sys.exit(128 + number)


def _resize(container: Container) -> None:
    with suppress(Error):
        container.resize(*terminal_size())
