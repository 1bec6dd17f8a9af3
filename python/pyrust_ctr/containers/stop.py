"""`stop` and `kill`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from pyrust_ctr import ids
from pyrust_ctr.errors import ContainerNotRunning, ContainerRunning, NotFound, ShimLost

if TYPE_CHECKING:
    from pyrust_ctr.containers.context import ContainerContext
    from pyrust_ctr.containers.table import ContainerRow

KILL_PATIENCE_S = 30.0
"""How long a container may take to end after SIGKILL (a process in uninterruptible sleep takes its time)."""


def stop(context: ContainerContext, row: ContainerRow, stop_signal: int, timeout_s: float) -> None:
    """Asks the program to end, and kills the container when it has not after `timeout_s`; never when
    negative.

    No error when it does not run.
    """
    directory = context.directory(row.id)
    try:
        context.runtime.signal_container(directory, stop_signal)
    except ContainerNotRunning:
        return
    if not _ends(context, directory, None if timeout_s < 0 else timeout_s):
        kill_and_wait(context, row)


def kill(context: ContainerContext, row: ContainerRow, number: int) -> None:
    """Sends a signal to the first process, SIGKILL to all of them; `ContainerNotRunning`."""
    try:
        context.runtime.signal_container(context.directory(row.id), number, everyone=number == signal.SIGKILL)
    except ContainerNotRunning as cause:
        raise ContainerNotRunning(
            f"cannot kill container: {row.name}: Container {ids.short(row.id)} is not running"
        ) from cause


def kill_and_wait(context: ContainerContext, row: ContainerRow) -> None:
    """SIGKILL to every process, and waits until the container ended; no error when it does not run."""
    directory = context.directory(row.id)
    try:
        context.runtime.signal_container(directory, signal.SIGKILL, everyone=True)
    except ContainerNotRunning:
        return
    if not _ends(context, directory, KILL_PATIENCE_S):
        raise ContainerRunning(
            f"the container `{row.name}` did not end {KILL_PATIENCE_S:g} seconds after SIGKILL",
            hint="One of its processes waits for a device; `ps -eo pid,stat,wchan,args` shows which.",
        )


def _ends(context: ContainerContext, directory: str, timeout_s: float | None) -> bool:
    """Waits for the end of a container that was running."""
    try:
        if context.runtime.wait_container(directory, timeout_s) is not None:
            return True
    except (NotFound, ShimLost):
        return True  # its shim removed it, or died: whoever looks next repairs it
    # A folder that its shim is just deleting reads like one of a container that was never started.
    return context.runtime.probe_container(directory).state != "running"
