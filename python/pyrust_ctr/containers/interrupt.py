"""Ctrl-C while the core waits.

A call into the core cannot be interrupted, and Python runs signal handlers on the main thread alone. So a
call that
may take long and is made on the main thread runs on another one, while the main thread waits where it can be
interrupted.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def interruptible(call: Callable[[], T], cancel: Callable[[], None]) -> T:
    """`call()`; an exception raised meanwhile by a signal handler leads to `cancel()`, and goes on."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    box: list[T] = []
    failures: list[BaseException] = []
    is_done = threading.Lock()
    is_done.acquire()

    def work() -> None:
        try:
            box.append(call())
        except BaseException as failure:
            failures.append(failure)
        finally:
            is_done.release()

    threading.Thread(target=work, name="pyrust-ctr-call", daemon=True).start()
    try:
        is_done.acquire()
    except BaseException:
        cancel()
        raise
    if failures:
        raise failures[0]
    return box[0]
