"""Locks between processes: `flock(2)` on files in `locks/`. The kernel drops them with the process that held
them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyrust_ctr.errors import NoSpace, PermissionDenied, SystemError_

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Held together with other shared holders; waits for an exclusive one."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_if_free(path: Path) -> Iterator[bool]:
    """Held alone, or not at all: yields whether it is held. Never waits."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as cause:
            if cause.errno not in {errno.EWOULDBLOCK, errno.EAGAIN}:
                raise
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    """The lock file; each holder opens it anew, so threads of one process exclude each other as well."""
    for attempt in (1, 2):
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            if attempt == 2:
                raise
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except PermissionError as cause:
            raise PermissionDenied(f"cannot open the lock `{path}`: {cause.strerror}") from cause
        except OSError as cause:
            if cause.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise NoSpace(f"no space left to make the lock `{path}`") from cause
            raise SystemError_(f"cannot open the lock `{path}`: {cause.strerror}") from cause
    raise AssertionError("unreachable")
