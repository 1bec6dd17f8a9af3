"""What a container may leave behind on the machine, looked at before and after a test."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE = "pyrust-ctr"
GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Traces:
    """Everything that should be as it was."""

    mounts: frozenset[str]
    """Mount points of this mount namespace."""
    cgroups: frozenset[str]
    """Control groups below the engine's own parent."""
    network_namespaces: frozenset[str]
    """Those with a process in them."""
    shims: frozenset[int]
    """Processes that were executed from the sealed copy of the shim."""
    children: frozenset[int]
    """Processes whose parent is this one."""
    descriptors: frozenset[str]
    """Open files of this process, sockets and pipes by their number."""


@contextmanager
def the_machine_to_oneself() -> Iterator[None]:
    """Test sessions on one machine take turns: each would see the containers of the others as leaks."""
    path = Path(tempfile.gettempdir(), "pyrust-ctr-tests.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def look(*, descriptors: bool = True) -> Traces:
    """The traces of now."""
    network, shims, children = _processes()
    return Traces(
        mounts=_mounts(),
        cgroups=_cgroups(),
        network_namespaces=network,
        shims=shims,
        children=children,
        descriptors=_descriptors() if descriptors else frozenset(),
    )


def assert_nothing_new(before: Traces, *, grace_s: float = GRACE_S) -> None:
    """Fails the test when something is there that was not `before`, and does not go away soon."""
    # A caught exception and its frames hold each other, and with them the engine of a test.
    gc.collect()
    deadline = time.monotonic() + grace_s
    while True:
        new = _new_since(before, look(descriptors=bool(before.descriptors)))
        if not new:
            return
        if time.monotonic() > deadline:
            pytest.fail("left behind:\n" + "\n".join(new))
        time.sleep(0.05)


def _new_since(before: Traces, after: Traces) -> list[str]:
    new: list[str] = []
    for part in fields(Traces):
        extra = getattr(after, part.name) - getattr(before, part.name)
        new.extend(f"{part.name}: {_describe(trace)}" for trace in sorted(extra, key=str))
    return new


def _describe(trace: object) -> str:
    if not isinstance(trace, int):
        return str(trace)
    try:
        words = Path(f"/proc/{trace}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = "(gone)"
    return f"process {trace} {words}"


def _mounts() -> frozenset[str]:
    return frozenset(line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _cgroups() -> frozenset[str]:
    found: set[str] = set()
    top = Path("/sys/fs/cgroup")
    for group in [*top.glob(f"{ENGINE}-*"), *top.glob(f"*/{ENGINE}-*")]:
        found.update(folder for folder, _, _ in os.walk(group))
    return frozenset(found)


def _processes() -> tuple[frozenset[str], frozenset[int], frozenset[int]]:
    network: set[str] = set()
    shims: set[int] = set()
    children: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            network.add(os.readlink(f"/proc/{name}/ns/net"))
            if os.readlink(f"/proc/{name}/exe").startswith("/memfd:pyrust-ctr"):
                shims.add(int(name))
            # The command's name is in parentheses and may hold anything.
            if int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                children.add(int(name))
        except OSError:
            continue
    return frozenset(network), frozenset(shims), frozenset(children)


def _descriptors() -> frozenset[str]:
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} → {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue
    # Not the descriptor by which the folder was listed, nor the sealed copy of the shim, which is kept.
    return frozenset(entry for entry in found if not re.search(r"→ /(proc/|memfd:pyrust-ctr)", entry))
