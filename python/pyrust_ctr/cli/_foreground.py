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
from typing import TYPE_CHECKING, Final

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
    signal.SIGWINCH,
)
_PATIENCE: Final = 3
"""So many SIGINTs or SIGTERMs end the command, when they do not end the program."""
_LAST_WORDS_S: Final = 10.0


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


def wait_in_foreground(
    container: Container, session: StartedContainer, *, tty: bool, interactive: bool, passes_signals: bool
) -> int | None:
    """Stays with a started container until it ends; its exit code, or None when the user detached."""
    detach_reader, detach_writer = os.pipe()
    try:
        with _signals(container, tty=tty, passes_signals=passes_signals), raw_terminal(tty and interactive):
            if tty:
                _resize(container)
            stdin_fd = session.take_stdin_fd() if interactive else None
            if stdin_fd is not None:
                pump_input(stdin_fd, lambda: os.close(detach_writer), watches_keys=tty)
            return _exit_code(session, detach_reader)
    finally:
        os.close(detach_reader)


def _exit_code(session: StartedContainer, detach_reader: int) -> int | None:
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    poll.register(detach_reader, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    if session.fileno() not in ready:
        return None
    record = session.wait(_LAST_WORDS_S)
    if record is None:
        return None
    if record.failure:
        _output.note(record.failure)
    return record.exit_code


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


@contextmanager
def _signals(container: Container, *, tty: bool, passes_signals: bool) -> Iterator[None]:
    received = 0

    def forward(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        if number == signal.SIGWINCH:
            if tty:
                _resize(container)
            return
        received += number in {signal.SIGINT, signal.SIGTERM}
        if received >= _PATIENCE:
            _output.note(f"got {_PATIENCE} SIGTERM/SIGINTs, forcefully exiting")
            raise KeyboardInterrupt
        with suppress(Error):
            container.kill(number)

    def leave(number: int, _frame: FrameType | None) -> None:
        # Raised, not ended here: the terminal is restored on the way out.
        sys.exit(128 + number)

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {}
    if tty:
        handlers = {signal.SIGWINCH: forward, signal.SIGTERM: leave, signal.SIGHUP: leave}
    elif passes_signals:
        handlers = dict.fromkeys(_FORWARDED, forward)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _resize(container: Container) -> None:
    with suppress(Error):
        container.resize(*terminal_size())
